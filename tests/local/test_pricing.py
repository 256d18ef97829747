from __future__ import annotations

import json
import uuid
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.aws import Aws
from local.prices import HOURLY

USUAL = {
    "regionCode": "us-east-1", "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
    "capacitystatus": "Used",
}  # fmt: skip


def products(client: Any, **by: str) -> list[dict[str, Any]]:
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in by.items()]
    pages = client.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=filters)
    return [json.loads(text) for page in pages for text in page["PriceList"]]


def dollars(product: dict[str, Any]) -> float:
    [term] = product["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    assert dimension["unit"] == "Hrs"
    return float(dimension["pricePerUnit"]["USD"])


def test_the_price_on_demand_of_a_type_is_told_in_the_shape_of_aws(aws: Aws) -> None:
    [one] = products(aws.client("pricing"), instanceType="c6i.large", **USUAL)
    assert one["product"]["attributes"]["instanceType"] == "c6i.large"
    assert dollars(one) == HOURLY["c6i.large"][1]


def test_all_of_them_come_by_pages(aws: Aws) -> None:
    pricing = aws.client("pricing")
    by_page = pricing.get_products(ServiceCode="AmazonEC2", MaxResults=10)
    assert len(by_page["PriceList"]) == 10 and by_page["NextToken"]
    assert {one["product"]["attributes"]["instanceType"] for one in products(pricing)} == set(HOURLY)


@pytest.mark.parametrize("field, value", [("instanceType", "z9.metal"), ("operatingSystem", "Windows"), ("no", "such")])
def test_what_is_not_offered_has_no_price(aws: Aws, field: str, value: str) -> None:
    assert products(aws.client("pricing"), **{field: value}) == []


def test_a_filter_that_is_not_known_is_refused(aws: Aws) -> None:
    wanted = [{"Type": "CONTAINS", "Field": "instanceType", "Value": "c6"}]
    with pytest.raises(ClientError, match="CONTAINS"):
        aws.client("pricing").get_products(ServiceCode="AmazonEC2", Filters=wanted)


def test_the_price_list_is_held_to_iam(aws: Aws) -> None:
    iam, name = aws.client("iam"), uuid.uuid4().hex
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    key = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    pricing: Any = boto3.client(
        "pricing", endpoint_url=aws.endpoint, region_name=aws.region, aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"], aws_session_token=key["SessionToken"],
    )  # fmt: skip
    with pytest.raises(ClientError, match="pricing:GetProducts"):
        products(pricing)
    sees = {"Statement": [{"Effect": "Allow", "Action": "pricing:GetProducts", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="sees", PolicyDocument=json.dumps(sees))
    assert products(pricing, instanceType="c6i.large")
