"""Which machines there are: what EC2's capacity would decide, decided by a file, `capacity.json` of the local cloud.

The file is a list of refusals, read at each CreateFleet: {"lifecycle", "type", "zone", "code"}, where `*` stands for
anything (`c6i.*`, `*a`). Promise: a pool that a refusal names gets no machine and is told with its code, as EC2 Fleet
tells it; of the other pools the cheapest gets it; when none is left the fleet is made without a machine.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from local.prices import hourly

Parameters = Mapping[str, Any]
Answer = tuple[int, dict[str, str], bytes]
Action = Callable[[Parameters], Answer]

FILE = "capacity.json"
LIFECYCLES = ("spot", "on-demand", "*")
MESSAGES = {
    "InsufficientInstanceCapacity": "There is no {lifecycle} capacity of {type} in {zone} that matches your request.",
    "UnfulfillableCapacity": "Unable to fulfill capacity due to your request configuration. Please adjust your "
    "request and try again.",
    "MaxSpotInstanceCountExceeded": "Max spot instance count exceeded",
    "VcpuLimitExceeded": "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the "
    "instance bucket that the specified instance type belongs to.",
    "Unsupported": "Your requested instance type ({type}) is not supported in your requested Availability Zone "
    "({zone}).",
}
OTHERWISE = "{code} for {lifecycle} {type} in {zone}: capacity.json of the local cloud says so."


class BadRefusal(ValueError):
    """A refusal that cannot be read; the message says how one is written."""


@dataclass(frozen=True)
class Pool:
    """One way to launch: the parameters that name it, and what it is."""

    config: int
    override: int
    type: str
    subnet: str
    zone: str
    lifecycle: str

    def price(self) -> float:
        """Dollars an hour; what has no price is the last choice."""
        return hourly(self.type, self.zone, self.lifecycle) or float("inf")


@dataclass(frozen=True)
class Refusal:
    lifecycle: str
    type: str
    zone: str
    code: str

    @staticmethod
    def of(text: str) -> Refusal:
        """LIFECYCLE:TYPE:ZONE:CODE, for example spot:*:*:InsufficientInstanceCapacity."""
        words = text.split(":")
        if len(words) != 4 or words[0] not in LIFECYCLES or not all(words):
            raise BadRefusal(
                f"{text!r} is no refusal. Write LIFECYCLE:TYPE:ZONE:CODE, LIFECYCLE being spot, on-demand or *, "
                "for example spot:*:*:InsufficientInstanceCapacity"
            )
        return Refusal(*words)

    def names(self, pool: Pool) -> bool:
        return all(
            fnmatch.fnmatchcase(value, pattern)
            for value, pattern in ((pool.lifecycle, self.lifecycle), (pool.type, self.type), (pool.zone, self.zone))
        )

    def __str__(self) -> str:
        return f"{self.lifecycle}:{self.type}:{self.zone}:{self.code}"


def read(state: Path) -> list[Refusal]:
    try:
        return [Refusal(**told) for told in json.loads((state / FILE).read_text())]
    except FileNotFoundError:
        return []


def write(state: Path, refusals: Sequence[Refusal]) -> None:
    """In one piece: the emulator reads the list before or this one."""
    fresh = state / f"{FILE}.new"
    fresh.write_text(json.dumps([asdict(refusal) for refusal in refusals], indent=1))
    fresh.replace(state / FILE)


def code_for(pool: Pool, refusals: Sequence[Refusal]) -> str | None:
    """Why there is no machine in this pool; None when there is one."""
    return next((refusal.code for refusal in refusals if refusal.names(pool)), None)


def where_capacity_is(
    create_fleet: Action, refusals: Callable[[], Sequence[Refusal]], zone_of: Callable[[str], str]
) -> Action:
    """The emulator would put the machine into the first pool; here capacity and price decide."""

    def wrapped(parameters: Parameters) -> Answer:
        found = pools(parameters, zone_of)
        if not found:
            return create_fleet(parameters)
        known = refusals()
        refused = [(pool, code) for pool in found if (code := code_for(pool, known))]
        left = [pool for pool in found if code_for(pool, known) is None]
        none = not left
        chosen = min(left or found, key=Pool.price)
        status, headers, body = create_fleet(only(parameters, chosen, capacity=not none))
        if status != 200:
            return status, headers, body
        place = f"</launchTemplateSpecification>{overrides(chosen)}".encode()
        body = body.replace(b"</launchTemplateSpecification>", place)
        errors = "".join(error(parameters, pool, code) for pool, code in refused)
        return status, headers, body.replace(b"<errorSet/>", f"<errorSet>{errors}</errorSet>".encode())

    return wrapped


def pools(parameters: Parameters, zone_of: Callable[[str], str]) -> list[Pool]:
    """All overrides of an instant fleet; the template's own type and subnet are no pool of this list."""
    if first(parameters, "Type") != "instant":
        return []
    asked = first(parameters, "TargetCapacitySpecification.DefaultTargetCapacityType") or "on-demand"
    found: list[Pool] = []
    config = 1
    while first(parameters, f"LaunchTemplateConfigs.{config}.Overrides.1.InstanceType"):
        override = 1
        while kind := first(parameters, f"LaunchTemplateConfigs.{config}.Overrides.{override}.InstanceType"):
            subnet = first(parameters, f"LaunchTemplateConfigs.{config}.Overrides.{override}.SubnetId")
            found.append(Pool(config, override, kind, subnet, zone_of(subnet), asked))
            override += 1
        config += 1
    return found


def only(parameters: Parameters, pool: Pool, *, capacity: bool) -> dict[str, Any]:
    """The same request with this one pool; without capacity, for no machine at all."""
    mine = f"LaunchTemplateConfigs.{pool.config}."
    override = f"{mine}Overrides.{pool.override}."
    kept = {
        name: value
        for name, value in parameters.items()
        if not name.startswith("LaunchTemplateConfigs.") or (name.startswith(mine) and ".Overrides." not in name)
    }
    kept |= {
        f"{mine}Overrides.1.{k.removeprefix(override)}": v for k, v in parameters.items() if k.startswith(override)
    }
    renamed = {name.replace(mine, "LaunchTemplateConfigs.1.", 1): value for name, value in kept.items()}
    return renamed if capacity else {**renamed, "TargetCapacitySpecification.TotalTargetCapacity": ["0"]}


def error(parameters: Parameters, pool: Pool, code: str) -> str:
    spec = f"LaunchTemplateConfigs.{pool.config}.LaunchTemplateSpecification."
    facts = {"lifecycle": pool.lifecycle, "type": pool.type, "zone": pool.zone, "code": code}
    message = MESSAGES.get(code, OTHERWISE).format(**facts)
    return (
        "<item><launchTemplateAndOverrides><launchTemplateSpecification>"
        + tags(
            launchTemplateId=first(parameters, f"{spec}LaunchTemplateId"),
            launchTemplateName=first(parameters, f"{spec}LaunchTemplateName"),
            version=first(parameters, f"{spec}Version"),
        )
        + f"</launchTemplateSpecification>{overrides(pool)}</launchTemplateAndOverrides>"
        + tags(lifecycle=pool.lifecycle, errorCode=code, errorMessage=message)
        + "</item>"
    )


def overrides(pool: Pool) -> str:
    told = tags(instanceType=pool.type, subnetId=pool.subnet, availabilityZone=pool.zone)
    return f"<overrides>{told}</overrides>"


def tags(**named: str) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in named.items() if value)


def first(parameters: Parameters, name: str) -> str:
    value = parameters.get(name, "")
    return str(value[0] if isinstance(value, list) else value)
