"""What the local account has of its own, as every account of AWS has: quotas, and the role that Spot made at first use.

Promise: Service Quotas answers in AWS's shape (JSON 1.1) for the vCPU quotas of EC2; it knows no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local.aws import Aws

Answer = tuple[int, dict[str, str], bytes]

TARGET = "ServiceQuotasV20190624"
SPOT_ROLE, SPOT_ROLE_PATH = "AWSServiceRoleForEC2Spot", "/aws-service-role/spot.amazonaws.com/"
VCPUS = 64.0
QUOTAS = {
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
    "L-417A185B": "Running On-Demand P instances",
    "L-7212CCBC": "All P4, P3 and P2 Spot Instance Requests",
}


def quota(target: str, asked: Mapping[str, Any], region: str, account: str) -> Answer:
    code = str(asked.get("QuotaCode", ""))
    if target.partition(".")[2] != "GetServiceQuota":
        return said(400, {"__type": "InvalidActionException", "Message": "The local cloud has only GetServiceQuota."})
    if asked.get("ServiceCode") != "ec2" or code not in QUOTAS:
        return said(400, {"__type": "NoSuchResourceException", "Message": "The request failed: no such quota."})
    found = {
        "ServiceCode": "ec2", "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)", "QuotaCode": code,
        "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:ec2/{code}", "QuotaName": QUOTAS[code],
        "Value": VCPUS, "Unit": "None", "Adjustable": True, "GlobalQuota": False,
    }  # fmt: skip
    return said(200, {"Quota": found})


def said(status: int, body: Mapping[str, Any]) -> Answer:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode()


def use_spot_once(aws: Aws) -> None:
    """AWS makes this role at an account's first use of Spot; the local account has used it before."""
    trust = {"Effect": "Allow", "Principal": {"Service": "spot.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    aws.client("iam").create_role(RoleName=SPOT_ROLE, Path=SPOT_ROLE_PATH, AssumeRolePolicyDocument=document)
