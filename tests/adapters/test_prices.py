"""One contract for prices, held to by the ones in memory and by AWS's; and what AWS answers, as it documents it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.stub import Stubber
from controlplane.adapters.aws_prices import AwsPrices, hourly_dollars
from controlplane.ports import Prices

from tests.flows.fakes import NOON, FakePrices

Stub = Callable[[str], tuple[Any, Stubber]]
SUBNETS = {"Subnets": [{"AvailabilityZone": "zone of s-a"}, {"AvailabilityZone": "zone of s-b"}]}


def product(price: str, unit: str = "Hrs") -> str:
    """As docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html shows one."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": price}, "beginRange": "0", "endRange": "Inf", "appliesTo": []}
    term = {"priceDimensions": {"SKU.JRTCKXETXF.6YS6EN2CT7": dimension}, "termAttributes": {}}
    told = {
        "product": {"productFamily": "Compute Instance", "attributes": {"instanceType": "c6i.large"}, "sku": "SKU"},
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": {"SKU.JRTCKXETXF": term}},
    }
    return json.dumps(told)


@dataclass
class Aws:
    ec2: Stubber
    pricing: Stubber
    prices: AwsPrices


@pytest.fixture
def aws_prices(stubbed: Stub) -> Aws:
    (ec2, ec2_stub), (pricing, pricing_stub) = stubbed("ec2"), stubbed("pricing")
    made = AwsPrices(ec2, pricing, region="eu-west-1", types=["c6i.large"], subnets=["s-a", "s-b"])
    return Aws(ec2_stub, pricing_stub, made)


@pytest.fixture(params=["fake", "aws"])
def prices(request: pytest.FixtureRequest) -> Prices:
    if request.param == "fake":
        return FakePrices(lists={"c6i.large": 0.1})
    aws: Aws = request.getfixturevalue("aws_prices")
    aws.ec2.add_response("describe_subnets", SUBNETS)
    told = [
        {"InstanceType": "c6i.large", "AvailabilityZone": f"zone of s-{zone}", "SpotPrice": price, "Timestamp": NOON}
        for zone, price in (("a", "0.04"), ("b", "0.05"))
    ]
    aws.ec2.add_response("describe_spot_price_history", {"SpotPriceHistory": told})
    aws.pricing.add_response("get_products", {"PriceList": [product("0.1000000000")]})
    aws.pricing.add_response("get_products", {"PriceList": []})
    return aws.prices


def test_every_pool_has_its_spot_price_and_every_type_its_price_on_demand(prices: Prices) -> None:
    assert dict(prices.spot(NOON)) == {("c6i.large", "zone of s-a"): 0.04, ("c6i.large", "zone of s-b"): 0.05}
    assert prices.on_demand("c6i.large") == 0.1
    assert prices.on_demand("x1.unheard-of") is None


def test_a_pool_without_a_price_is_there_without_one(aws_prices: Aws) -> None:
    aws_prices.ec2.add_response("describe_subnets", SUBNETS, {"SubnetIds": ["s-a", "s-b"]})
    wanted = {"InstanceTypes": ["c6i.large"], "ProductDescriptions": ["Linux/UNIX"], "StartTime": NOON}
    aws_prices.ec2.add_response("describe_spot_price_history", {"SpotPriceHistory": []}, wanted)
    assert dict(aws_prices.prices.spot(NOON)) == {
        ("c6i.large", "zone of s-a"): None,
        ("c6i.large", "zone of s-b"): None,
    }


def test_the_price_list_is_asked_for_linux_on_shared_hardware(aws_prices: Aws) -> None:
    filters = {
        "instanceType": "c6i.large",
        "regionCode": "eu-west-1",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    aws_prices.pricing.add_response(
        "get_products",
        {"PriceList": [product("0.0912")]},
        {
            "ServiceCode": "AmazonEC2",
            "FormatVersion": "aws_v1",
            "Filters": [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in filters.items()],
        },
    )
    assert aws_prices.prices.on_demand("c6i.large") == 0.0912


def test_a_price_that_may_not_be_asked_is_none_and_the_log_says_so(
    aws_prices: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws_prices.pricing.add_client_error("get_products", "AccessDeniedException", "no")
    aws_prices.ec2.add_client_error("describe_subnets", "UnauthorizedOperation", "no")
    assert aws_prices.prices.on_demand("c6i.large") is None
    assert dict(aws_prices.prices.spot(NOON)) == {}
    told = capsys.readouterr().out
    assert "price of c6i.large" in told and "AccessDeniedException" in told and "UnauthorizedOperation" in told


@pytest.mark.parametrize(
    ("products", "price"),
    [
        ([product("0.085")], 0.085),
        ([product("0.0000000000"), product("0.085")], 0.085),
        ([product("0.085"), product("0.085")], 0.085),
        ([product("0.085"), product("0.091")], None),
        ([product("5", unit="Quantity")], None),
        ([json.dumps({"product": {}})], None),
        ([], None),
    ],
)
def test_an_answer_that_is_not_one_price_is_none(products: list[str], price: float | None) -> None:
    assert hourly_dollars(products) == price
