"""The emulator with what it leaves out and no public API can add: `python -m local.emulator`.

It wraps entries of the emulator's own tables before its server starts, so the server checks IAM for them exactly as
for every other action. Added:

- CreateFleet keeps its promise on ClientToken: the same token and request give the same fleet and machines, the same
  token with another request is refused. Which pools have a machine to give says capacity.json (`local/capacity.py`);
  the cheapest of them gives it. The machines carry the tags that AWS gives them, their subnet's zone, and say whether
  they are Spot (`fleets.py`).
- DescribeInstances heeds the filter instance-id.
- DescribeSpotPriceHistory answers from the local cloud's own table of prices (`local/prices.py`), and so does the
  Price List API (`pricing.py`). Service Quotas tells the account's (`local/account.py`).
- ECR tells where a layer can be had, and what its scan found (`ecr.py`); findings.json decides that.
- Schedules with a universal target call what they name, as their role (`schedules.py`), within a second.
- CloudFormation accepts alarms on metric math. They can be described and set; the emulator does not compute them.
- IAM is checked on the resources that AWS checks (`permissions.py`), machines by their tags too.
- A task that ends before it was healthy ends as on AWS, its log is kept, and a deployment that waited for its room
  goes on (`task_ends.py`).
- Services have revisions (`revisions.py`).
- A function that fails on an event of a rule is asked again (`rule_targets.py`).
- Functions run in a Python with nothing but what AWS gives them (`lambda_python.py`).
- The old tasks of a completed deployment drain together.
- What changed leaves a mark for the parts that watch, and tasks that run are asked for seldom (`local/idle.py`).
- GET /health goes to the load balancer's targets; the emulator keeps /_ministack/health.
- PutParameter accepts public names (/aws/service/...), so that the deploy can put the machine images there.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import capacity, scans
from local.account import TARGET, quota
from local.aws import Aws
from local.capacity import Action, Answer, Parameters
from local.emulator import pricing
from local.emulator.ecr import as_aws_does
from local.emulator.fleets import as_aws_launches, once_per_token, price_history, with_instance_ids, with_lifecycle
from local.emulator.lambda_python import bare_python, in_bare_python
from local.emulator.permissions import across_lines, as_aws_acts, as_aws_names, with_github_claims, with_keys
from local.emulator.revisions import Revisions
from local.emulator.rule_targets import invoked_until_it_is_done
from local.emulator.schedules import with_universal_targets
from local.emulator.task_ends import as_aws_ends, draining_together, heard_by_its_service
from local.idle import leave_marks, looking_seldom, picture
from local.processes import MARK

Properties = Mapping[str, Any]
SCHEDULES_EVERY_SECONDS = 1  # the emulator looks every ten


def with_metric_math(
    record: Callable[[str, Properties], dict[str, Any]],
) -> Callable[[str, Properties], dict[str, Any]]:
    """The alarm as PutMetricAlarm would keep it: with its Metrics, and with no metric of its own."""

    def wrapped(name: str, properties: Properties) -> dict[str, Any]:
        metrics = properties.get("Metrics")
        if not metrics:
            return record(name, properties)
        stand_in = {"MetricName": "-", "Namespace": "-"}
        alarm = record(name, {**{k: v for k, v in properties.items() if k != "Metrics"}, **stand_in})
        for own in ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit"):
            alarm.pop(own, None)
        return {**alarm, "Metrics": metrics}

    return wrapped


def with_public_parameters(reserved: Callable[[str], Any]) -> Callable[[str], Any]:
    def wrapped(name: str) -> Any:
        return None if name.startswith("/aws/service/") else reserved(name)

    return wrapped


def json_service(answer: Callable[[str, Parameters], Answer]) -> Callable[..., Awaitable[Answer]]:
    """A service that the emulator has not got, by its target and the JSON that it is asked."""

    async def handle(_method: str, _path: str, headers: Mapping[str, str], body: bytes, _params: Parameters) -> Answer:
        return answer(headers.get("x-amz-target", ""), json.loads(body or b"{}"))

    return handle


def complete(folder: Path, state: Path, here: Aws) -> None:
    """Put everything that is missing into the emulator's own tables; files that this needs go into the folder."""
    from ministack import app
    from ministack.core import concurrency, iam_actions, iam_evaluator, lambda_runtime, router
    from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
    from ministack.services import (
        cloudwatch,
        ec2,
        ecr,
        ecs,
        eventbridge,
        iam,
        lambda_svc,
        scheduler,
        sns,
        ssm,
        sts,
        tagging,
    )
    from ministack.services.cloudformation import provisioners

    def whose() -> str:
        return f"{get_account_id()}/{get_region()}"

    def zone_of(subnet: str) -> str:
        return str((ec2._subnets.get(subnet) or {}).get("AvailabilityZone", f"{get_region()}a"))

    def tagged_machines() -> Iterator[tuple[str, list[dict[str, str]]]]:
        for key in ec2._instances:
            yield f"arn:aws:ec2:{get_region()}:{get_account_id()}:instance/{key}", ec2._tags.get(key, [])

    def role_arn(name: str) -> str | None:
        return (iam._roles.get(name) or {}).get("Arn")

    actions: dict[str, Action] = ec2._ACTION_MAP
    launch = as_aws_launches(ec2, actions["CreateFleet"])
    launch = capacity.where_capacity_is(launch, lambda: capacity.read(state), zone_of)
    actions["CreateFleet"] = once_per_token(launch, whose, ec2._error)
    actions["DescribeSpotPriceHistory"] = price_history(get_region, ec2._xml, lambda: datetime.now(UTC))
    ec2._instance_xml = with_lifecycle(ec2._instance_xml)
    ec2._matches_filters = with_instance_ids(ec2._matches_filters)
    provisioners._cw_metric_alarm_record = with_metric_math(provisioners._cw_metric_alarm_record)
    iam_evaluator._fnmatch_compile = across_lines(iam_evaluator._fnmatch_compile)
    iam_actions.extract_iam_action = as_aws_acts(iam_actions.extract_iam_action)
    iam_actions.extract_resource_arn = as_aws_names(iam_actions.extract_resource_arn, role_arn)
    iam_actions.request_tag_context = with_keys(
        iam_actions.request_tag_context, lambda: (get_region(), get_account_id())
    )
    sts._web_identity_principal = with_github_claims(sts._web_identity_principal)
    tagging._RESOURCE_TAG_COLLECTORS["ec2"] = tagged_machines
    lambda_runtime._detect_runtime_binary = in_bare_python(lambda_runtime._detect_runtime_binary, bare_python(folder))
    app._HEALTH_PATHS = ("/_ministack/health",)
    ssm._reserved_name_error = with_public_parameters(ssm._reserved_name_error)
    for name, prefix, answer in (
        ("pricing", pricing.TARGET, lambda target, asked: pricing.answer(target, asked, here.region)),
        ("servicequotas", TARGET, lambda target, asked: quota(target, asked, here.region, get_account_id())),
    ):
        router.SERVICE_PATTERNS[name] = {"target_prefixes": [prefix]}
        iam_actions.SERVICE_TO_IAM_NAMESPACE[name] = name
        app.SERVICE_HANDLERS[name] = json_service(answer)
    app.SERVICE_HANDLERS["ecr"] = as_aws_does(ecr, app.SERVICE_HANDLERS["ecr"], lambda: scans.read(state), time.time)
    ecs._fail_task_start = as_aws_ends(ecs, ecs._fail_task_start)
    ecs._record_service_task_failure = heard_by_its_service(ecs, ecs._record_service_task_failure)
    ecs._maybe_mark_stopped = looking_seldom(ecs._maybe_mark_stopped)
    ecs._stop_task = draining_together(ecs._stop_task, concurrency.spawn_background)
    Revisions(ecs, json_response, error_response_json).take_over()
    eventbridge._dispatch_to_lambda = invoked_until_it_is_done(lambda_svc)
    eventbridge._invoke_target = with_universal_targets(eventbridge._invoke_target, here)
    scheduler._SCHEDULE_TICK_INTERVAL = SCHEDULES_EVERY_SECONDS
    leave_marks(state, lambda: picture(ec2, ecr, ecs, cloudwatch, sns))


def main() -> None:
    from ministack.app import main as serve

    here = Aws(f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}", os.environ["MINISTACK_REGION"])
    complete(Path(tempfile.gettempdir()) / "lambda", Path(os.environ[MARK]), here)
    serve()


if __name__ == "__main__":
    main()
