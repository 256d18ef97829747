"""What AWS's Price List API answers: GetProducts of AmazonEC2, on demand, from the local cloud's own table of prices.

Promise: the shape is AWS's (JSON 1.1; each product a JSON text of its own, format aws_v1), and a filter that the table
has no attribute for gives no product, as there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from local.prices import HOURLY

Answer = tuple[int, dict[str, str], bytes]

TARGET = "AWSPriceListService"
HEADERS = {"Content-Type": "application/x-amz-json-1.1"}
MOST_AT_ONCE = 100
LOCATIONS = {
    "us-east-1": "US East (N. Virginia)", "us-east-2": "US East (Ohio)", "us-west-1": "US West (N. California)",
    "us-west-2": "US West (Oregon)", "eu-west-1": "EU (Ireland)", "eu-central-1": "EU (Frankfurt)",
}  # fmt: skip


def answer(target: str, asked: Mapping[str, Any], region: str) -> Answer:
    """Of one call; the region is the one that the local cloud is in, and the only one that it has prices of."""
    operation = target.partition(".")[2]
    if operation != "GetProducts":
        return fault("InvalidActionException", f"The local cloud's price list has no {operation}, only GetProducts.")
    found = [product(kind, region) for kind in HOURLY] if asked.get("ServiceCode") == "AmazonEC2" else []
    for wanted in asked.get("Filters", []):
        if wanted.get("Type") not in ("TERM_MATCH", "EQUALS"):
            return fault("InvalidParameterException", f"The local cloud cannot filter by {wanted.get('Type')}.")
        found = [one for one in found if matches(one, wanted["Field"], wanted["Value"])]
    at, most = int(asked.get("NextToken") or 0), min(int(asked.get("MaxResults") or MOST_AT_ONCE), MOST_AT_ONCE)
    page = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(one) for one in found[at : at + most]]}
    return said(200, {**page, "NextToken": str(at + most)} if at + most < len(found) else page)


def matches(product: Mapping[str, Any], field: str, value: str) -> bool:
    known = {**product["product"]["attributes"], "productFamily": product["product"]["productFamily"]}
    return bool({name.lower(): text for name, text in known.items()}.get(field.lower()) == value)


def product(kind: str, region: str) -> dict[str, Any]:
    """One type, as Linux on shared hardware, by the hour."""
    sku, offer = mark(f"{region} {kind}"), "JRTCKXETXF"  # the offer's code is on demand's, at AWS too
    attributes = {
        "servicecode": "AmazonEC2", "servicename": "Amazon Elastic Compute Cloud", "instanceType": kind,
        "instanceFamily": "Local table", "regionCode": region, "location": LOCATIONS.get(region, region),
        "locationType": "AWS Region", "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
        "capacitystatus": "Used", "licenseModel": "No License required", "marketoption": "OnDemand",
        "operation": "RunInstances", "usagetype": f"BoxUsage:{kind}",
    }  # fmt: skip
    rate = f"{sku}.{offer}.6YS6EN2CT7"
    price = {
        "unit": "Hrs", "beginRange": "0", "endRange": "Inf", "appliesTo": [], "rateCode": rate,
        "description": f"${HOURLY[kind][1]:g} per On Demand Linux {kind} Instance Hour",
        "pricePerUnit": {"USD": f"{HOURLY[kind][1]:.10f}"},
    }  # fmt: skip
    term = {
        "sku": sku, "offerTermCode": offer, "effectiveDate": "2026-01-01T00:00:00Z", "termAttributes": {},
        "priceDimensions": {rate: price},
    }  # fmt: skip
    return {
        "product": {"productFamily": "Compute Instance", "sku": sku, "attributes": attributes},
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": {f"{sku}.{offer}": term}},
        "version": "20260101000000",
        "publicationDate": "2026-01-01T00:00:00Z",
    }


def mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16].upper()


def fault(code: str, message: str) -> Answer:
    return said(400, {"__type": code, "message": message})


def said(status: int, body: Mapping[str, Any] | Sequence[Any]) -> Answer:
    return status, dict(HEADERS), json.dumps(body).encode()
