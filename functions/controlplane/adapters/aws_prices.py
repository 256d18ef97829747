"""What machines cost: Spot from EC2, on demand from the Price List API. What AWS does not tell is None.

docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html (a start time of now gives the prices
that hold now), docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from .dynamo_ledger import log_line

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_pricing import PricingClient


class AwsPrices:
    def __init__(
        self, ec2: EC2Client, pricing: PricingClient, *, region: str, types: Sequence[str], subnets: Sequence[str]
    ) -> None:
        self._ec2, self._pricing, self._region = ec2, pricing, region
        self._types, self._subnets = list(types), list(subnets)

    def spot(self, now: datetime) -> Mapping[tuple[str, str], float | None]:
        try:
            subnets = self._ec2.describe_subnets(SubnetIds=self._subnets)["Subnets"]
            zones = list(dict.fromkeys(subnet["AvailabilityZone"] for subnet in subnets))
            pages = self._ec2.get_paginator("describe_spot_price_history").paginate(
                InstanceTypes=self._types,  # type: ignore[arg-type]
                ProductDescriptions=["Linux/UNIX"],
                StartTime=now,
            )
            told: dict[tuple[str, str], float] = {
                (one["InstanceType"], one["AvailabilityZone"]): float(one["SpotPrice"])
                for page in pages
                for one in sorted(page["SpotPriceHistory"], key=lambda one: one["Timestamp"])
            }
        except (ClientError, BotoCoreError) as fault:
            log_line(subject="Spot prices", why=f"EC2 did not tell them: {fault}")
            return {}
        return {(kind, zone): told.get((kind, zone)) for kind in self._types for zone in zones}

    def on_demand(self, machine_type: str) -> float | None:
        wanted = {
            "instanceType": machine_type,
            "regionCode": self._region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        try:
            told = self._pricing.get_products(
                ServiceCode="AmazonEC2",
                FormatVersion="aws_v1",
                Filters=[{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()],
            )["PriceList"]
        except (ClientError, BotoCoreError) as fault:
            log_line(subject=f"price of {machine_type}", why=f"the price list did not tell it: {fault}")
            return None
        return hourly_dollars(told)


def hourly_dollars(products: Iterable[str]) -> float | None:
    """The price in the answer of GetProducts, each product a JSON text; None when it is not there, or not one alone."""
    found = set()
    for product in products:
        for term in json.loads(product).get("terms", {}).get("OnDemand", {}).values():
            found |= {_dollars(price) for price in term.get("priceDimensions", {}).values() if price["unit"] == "Hrs"}
    found -= {None, 0.0}
    return found.pop() if len(found) == 1 else None


def _dollars(price: Mapping[str, Any]) -> float | None:
    told = price.get("pricePerUnit", {}).get("USD")
    return None if told is None else float(told)
