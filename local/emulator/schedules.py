"""EventBridge Scheduler's universal targets: a schedule that calls an API of AWS by itself, with a role of its own.

The emulator fires schedules and knows none of these targets. Promise: the call is made as the schedule's role, which
has to trust the scheduler and is held to its policies; a call that is refused goes to the target's dead-letter queue.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.aws import KEY, Aws

log = logging.getLogger("tidegate.schedules")

UNIVERSAL = re.compile(r"^arn:aws[a-z-]*:scheduler:::aws-sdk:([a-z0-9]+):([a-zA-Z0-9]+)$")
PRINCIPAL = "scheduler.amazonaws.com"
SESSION_SECONDS = 900
Invoke = Callable[..., Any]


class NotCarriedOut(Exception):
    """The call was not made or was refused; the message says why."""


def with_universal_targets(invoke: Invoke, aws: Aws) -> Invoke:
    def wrapped(target: Mapping[str, Any], event: Any, rule: Any, *more: Any) -> Any:
        named = UNIVERSAL.match(target.get("Arn", ""))
        if named is None:
            return invoke(target, event, rule, *more)
        try:
            log.info("%s called %s", rule.get("Name"), carry_out(aws, rule["Arn"], named[1], named[2], target))
        except NotCarriedOut as fault:
            log.warning("%s of schedule %s was not carried out. %s", named[2], rule.get("Name"), fault)
            bury(aws, target)
        return None

    return wrapped


def carry_out(aws: Aws, schedule: str, service: str, operation: str, target: Mapping[str, Any]) -> str:
    """Make the call; raise NotCarriedOut with the reason."""
    try:
        client = as_role(aws, target["RoleArn"], schedule, service)
        method = next((m for m, api in client.meta.method_to_api_mapping.items() if same(api, operation)), None)
        if method is None:
            raise NotCarriedOut(f"{service} has no {operation}.")
        getattr(client, method)(**json.loads(target.get("Input") or "{}"))
    except (ClientError, BotoCoreError, ValueError) as fault:
        raise NotCarriedOut(str(fault)) from fault
    return f"{service}:{operation}"


def as_role(aws: Aws, role: str, schedule: str, service: str) -> Any:
    """A client with a session of the role, as the scheduler itself gets one: if the role's trust lets it, and for it.

    STS knows no caller that is a service, so the session is made where STS would make it.
    """
    from ministack.core.iam_evaluator import EvalContext, evaluate_trust_policy
    from ministack.services import iam, sts

    account, name = role.split(":")[4], role.rsplit("/", 1)[-1]
    found = iam._roles.get_scoped(account, None, name)
    document = json.loads(found["AssumeRolePolicyDocument"]) if found else {}
    root = f"arn:aws:iam::{account}:root"
    context = EvalContext(
        principal_arn=root, principal_type="Service", principal_account=account, action="sts:AssumeRole",
        resource_arn=role, region=aws.region,
        service_context={"aws:sourceaccount": schedule.split(":")[4], "aws:sourcearn": schedule},
    )  # fmt: skip
    of_ours = [statement for statement in document.get("Statement", []) if trusts(statement)]
    if not evaluate_trust_policy({"Statement": of_ours}, root, context):
        raise NotCarriedOut(f"{role} does not trust {PRINCIPAL} with {schedule}.")
    key, secret, token = iam._gen_session_access_key(), iam._gen_secret(), iam._gen_session_token()
    sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/scheduler", "UserId": f"{found['RoleId']}:scheduler",
            "SecretAccessKey": secret, "SessionToken": token, "Expiration": time.time() + SESSION_SECONDS,
            "AccountId": account, "PrincipalType": "AssumedRole", "SourceAccessKeyId": KEY,
            "SourcePrincipalArn": root, "SessionTags": [], "SessionPolicies": None,
        },
    )  # fmt: skip
    make: Any = boto3.client
    return make(
        service, endpoint_url=aws.endpoint, region_name=aws.region, aws_access_key_id=key,
        aws_secret_access_key=secret, aws_session_token=token,
        config=Config(proxies={}, retries={"total_max_attempts": 2}),
    )  # fmt: skip


def trusts(statement: Mapping[str, Any]) -> bool:
    services = statement.get("Principal", {}).get("Service", [])
    return statement.get("Effect") == "Allow" and PRINCIPAL in ([services] if isinstance(services, str) else services)


def same(api: str, operation: str) -> bool:
    """The ARN begins the name with a small letter."""
    return api[:1].lower() + api[1:] == operation


def bury(aws: Aws, target: Mapping[str, Any]) -> None:
    arn = target.get("DeadLetterConfig", {}).get("Arn")
    if arn:
        url = aws.client("sqs").get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
        aws.client("sqs").send_message(QueueUrl=url, MessageBody=target.get("Input") or "{}")
