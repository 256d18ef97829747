"""The resource and the condition keys that AWS checks, where the emulator names others.

The emulator checks one resource a request. For calls on a service it names the cluster, for a fleet nothing, for a
role its name without its path, for a schedule the default group, for a log stream its group; a policy written for
AWS would then be refused. Of a token of GitHub it knows no branch.
Sources: the Service Authorization Reference, Amazon ECS, Amazon EC2, IAM, EventBridge Scheduler and CloudWatch Logs.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from local.account import SPOT_ROLE, SPOT_ROLE_PATH

Resource = Callable[..., str]
Action = Callable[..., str | None]
Context = Callable[..., dict[str, Any]]
Claims = Callable[[str, str, str], tuple[str, dict[str, Any]]]
GITHUB = "token.actions.githubusercontent.com"
GITHUB_CLAIMS = (
    "ref",
    "environment",
    "repository",
    "repository_id",
    "workflow",
    "job_workflow_ref",
    "actor",
    "actor_id",
)


def as_aws_acts(extract: Action) -> Action:
    """GetLayerVersionByArn is allowed by lambda:GetLayerVersion; its path looks like ListLayers."""

    def wrapped(
        service: str, method: str, path: str, headers: Mapping[str, str], body: bytes, params: Mapping[str, Any]
    ) -> str | None:
        if service == "lambda" and first(params, "find") == "LayerVersion":
            return "lambda:GetLayerVersion"
        return extract(service, method, path, headers, body, params)

    return wrapped


def as_aws_names(extract: Resource, role_arn: Callable[[str], str | None]) -> Resource:
    def wrapped(
        service: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        params: Mapping[str, Any],
        region: str,
        account: str,
    ) -> str:
        if service == "ecs" and (named := ecs_resource(asked(body), region, account)):
            return named
        if service == "lambda" and first(params, "find") == "LayerVersion":
            return first(params, "Arn")
        if service == "logs" and headers.get("x-amz-target", "").endswith(".GetLogEvents"):
            told = asked(body)
            group, stream = told.get("logGroupName"), told.get("logStreamName")
            return f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:{stream}"
        if service == "ec2" and first(params, "Action") == "CreateFleet":
            return f"arn:aws:ec2:{region}:{account}:fleet/*"
        if service == "iam" and (role := first(params, "RoleName")):
            missing = f"arn:aws:iam::{account}:role{SPOT_ROLE_PATH}{role}" if role == SPOT_ROLE else ""
            return role_arn(role) or missing or extract(service, method, path, headers, body, params, region, account)
        if service == "scheduler" and path.startswith("/schedules/"):
            group = first(params, "groupName") or str(asked(body).get("GroupName") or "default")
            return f"arn:aws:scheduler:{region}:{account}:schedule/{group}/{path.removeprefix('/schedules/')}"
        return extract(service, method, path, headers, body, params, region, account)

    return wrapped


def with_keys(context: Context, scope: Callable[[], tuple[str, str]]) -> Context:
    """Condition keys of the request: `ecs:cluster`."""

    def wrapped(service: str, action: str, body: bytes, params: Mapping[str, Any]) -> dict[str, Any]:
        found = context(service, action, body, params)
        cluster = asked(body).get("cluster") if service == "ecs" else None
        if isinstance(cluster, str):
            region, account = scope()
            found["ecs:cluster"] = (
                cluster if cluster.startswith("arn:") else f"arn:aws:ecs:{region}:{account}:cluster/{cluster}"
            )
        return found

    return wrapped


def with_github_claims(principal: Claims) -> Claims:
    """Of a token of GitHub, STS compares more claims than audience and subject: the branch, the repository, …

    docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
    """

    def wrapped(token: str, provider: str, role: str) -> tuple[str, dict[str, Any]]:
        who, found = principal(token, provider, role)
        if not who.endswith(f"/{GITHUB}"):
            return who, found
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return who, {**found, **{f"{GITHUB}:{name}": claims[name] for name in GITHUB_CLAIMS if name in claims}}

    return wrapped


def ecs_resource(body: Mapping[str, Any], region: str, account: str) -> str:
    """What the call is about: service, task, revision of either; "" when it is something else."""
    if "containerDefinitions" in body:
        return f"arn:aws:ecs:{region}:{account}:task-definition/{body.get('family')}:*"
    cluster = str(body.get("cluster", "default")).rpartition("/")[2]
    for kind, names in (
        ("service", [body.get("service"), *(body.get("services") or [])]),
        ("task", [body.get("task"), *(body.get("tasks") or [])]),
        ("service-revision", body.get("serviceRevisionArns") or []),
    ):
        for name in names:
            if isinstance(name, str):
                return name if name.startswith("arn:") else f"arn:aws:ecs:{region}:{account}:{kind}/{cluster}/{name}"
    return ""


def across_lines(compiled: Callable[[str, bool], re.Pattern[str]]) -> Callable[[str, bool], re.Pattern[str]]:
    """A "*" in a policy stands for a line break too; keys may hold one."""

    def wrapped(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        one_line = compiled(pattern, ignore_case)
        return re.compile(one_line.pattern, one_line.flags | re.DOTALL)

    return wrapped


def first(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name, "")
    return str(value[0] if isinstance(value, list) else value)


def asked(body: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
