"""EC2 as a fleet needs it: a token gives its machines once, they carry what AWS gives them, and Spot has its prices."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from local.capacity import Action, Answer, Parameters
from local.prices import PRODUCT, spot_prices

NOT_PART_OF_A_REQUEST = {"ClientToken", "DryRun", "Version", "Action"}


def once_per_token(action: Action, whose: Callable[[], str], refuse: Callable[[str, str, int], Answer]) -> Action:
    """The same token gives the first answer again; a fleet that got no machine is an answer too. A request that was
    refused as a whole made no fleet and leaves its token free."""
    kept: dict[tuple[str, str], tuple[str, Answer]] = {}
    one_at_a_time = threading.Lock()

    def wrapped(parameters: Parameters) -> Answer:
        token = first(parameters, "ClientToken")
        if not token:
            return action(parameters)
        request = json.dumps({k: v for k, v in parameters.items() if k not in NOT_PART_OF_A_REQUEST}, sort_keys=True)
        with one_at_a_time:
            known = kept.get((whose(), token))
            if known and known[0] != request:
                message = "The token was used before, with another request. Use a new one."
                return refuse("IdempotentParameterMismatch", message, 400)
            if known:
                return known[1]
            answer = action(parameters)
            if answer[0] == 200:
                kept[(whose(), token)] = (request, answer)
            return answer

    return wrapped


def as_aws_launches(ec2: Any, create_fleet: Action) -> Action:
    """After the emulator made the machines: the tags, the zone and the lifecycle that AWS would have given them."""

    def wrapped(parameters: Parameters) -> Answer:
        answer = create_fleet(parameters)
        made = re.search(rb"<fleetId>([^<]+)</fleetId>", answer[2])
        if answer[0] != 200 or made is None:
            return answer
        fleet_id = made.group(1).decode()
        for group in ec2._fleets[fleet_id]["Instances"]:
            spec = group["LaunchTemplateSpec"]
            data, template, fault = ec2._resolve_launch_template_data(spec)
            version = "" if fault or template is None else version_number(template, spec.get("Version"))
            for instance_id in group["InstanceIds"]:
                instance = ec2._instances[instance_id]
                instance["Lifecycle"] = group["Lifecycle"]
                subnet = ec2._subnets.get(instance["SubnetId"]) or {}
                instance["Placement"]["AvailabilityZone"] = subnet.get(
                    "AvailabilityZone", instance["Placement"]["AvailabilityZone"]
                )
                given = {"aws:ec2:fleet-id": fleet_id}
                if template is not None:
                    given["aws:ec2launchtemplate:id"] = template["LaunchTemplateId"]
                    given["aws:ec2launchtemplate:version"] = version
                own = [tag for tag in ec2._tags.get(instance_id, []) if not tag["Key"].startswith("aws:")]
                ec2._tags[instance_id] = own + [{"Key": k, "Value": v} for k, v in given.items()]
        return answer

    return wrapped


def version_number(template: Mapping[str, Any], asked: str | None) -> str:
    if asked in (None, "", "$Default"):
        return str(template["DefaultVersionNumber"])
    return str(template["LatestVersionNumber"]) if asked == "$Latest" else str(asked)


def with_lifecycle(instance_xml: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], str]:
    """DescribeInstances names the lifecycle of Spot machines, and of no other, as on AWS."""

    def wrapped(instance: Mapping[str, Any]) -> str:
        text = instance_xml(instance)
        if instance.get("Lifecycle") != "spot":
            return text
        head, _, tail = text.rpartition("</item>")
        return f"{head}<instanceLifecycle>spot</instanceLifecycle></item>{tail}"

    return wrapped


def with_instance_ids(
    matches: Callable[[Mapping[str, Any], Mapping[str, list[str]]], bool],
) -> Callable[[Mapping[str, Any], Mapping[str, list[str]]], bool]:
    """DescribeInstances heeds the filter `instance-id`."""

    def wrapped(instance: Mapping[str, Any], wanted: Mapping[str, list[str]]) -> bool:
        ids = wanted.get("instance-id")
        return (not ids or instance["InstanceId"] in ids) and matches(instance, wanted)

    return wrapped


def price_history(
    region: Callable[[], str], xml: Callable[[int, str, str], Answer], now: Callable[[], datetime]
) -> Action:
    def describe(parameters: Parameters) -> Answer:
        by = filters(parameters)
        zone = first(parameters, "AvailabilityZone")
        prices = spot_prices(
            region(),
            now(),
            types=numbered(parameters, "InstanceType") or by.get("instance-type", []),
            zones=[zone] if zone else by.get("availability-zone", []),
            products=numbered(parameters, "ProductDescription") or by.get("product-description", []),
        )
        items = "".join(
            f"<item><instanceType>{escape(p.instance_type)}</instanceType><productDescription>{PRODUCT}</productDescription>"
            f"<spotPrice>{p.price}</spotPrice><timestamp>{p.timestamp}</timestamp>"
            f"<availabilityZone>{p.zone}</availabilityZone></item>"
            for p in prices
        )
        inner = f"<spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken/>"
        return xml(200, "DescribeSpotPriceHistoryResponse", inner)

    return describe


def first(parameters: Parameters, name: str) -> str:
    value = parameters.get(name, "")
    return str(value[0] if isinstance(value, list) else value)


def numbered(parameters: Parameters, name: str) -> list[str]:
    """Name.1, Name.2, … as the EC2 query protocol writes a list."""
    found: list[str] = []
    while value := first(parameters, f"{name}.{len(found) + 1}"):
        found.append(value)
    return found


def filters(parameters: Parameters) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    while name := first(parameters, f"Filter.{len(found) + 1}.Name"):
        found[name] = numbered(parameters, f"Filter.{len(found) + 1}.Value")
    return found
