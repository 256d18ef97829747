"""What an AWS account needs before its first machine: the Spot role, and a quota of vCPUs; with the command."""

from __future__ import annotations

from dataclasses import dataclass

from .pools import SPOT
from .refusals import SPOT_ROLE, Kind

LEAST_VCPUS = 2  # the smallest machine that anybody trains on
FAMILIES = {"g": "G and VT", "v": "G and VT", "p": "P"}  # all others share the quota of the standard families
QUOTAS = {
    ("spot", "Standard"): "L-34B43A08",
    ("spot", "G and VT"): "L-3819A6DF",
    ("spot", "P"): "L-7212CCBC",
    ("on-demand", "Standard"): "L-1216C47A",
    ("on-demand", "G and VT"): "L-DB2E81BA",
    ("on-demand", "P"): "L-417A185B",
}


@dataclass(frozen=True)
class Quota:
    family: str
    lifecycle: str

    @classmethod
    def of(cls, machine_type: str, lifecycle: str) -> Quota:
        return cls(FAMILIES.get(machine_type[:1], "Standard"), lifecycle)

    @property
    def code(self) -> str:
        return QUOTAS[self.lifecycle, self.family]


@dataclass(frozen=True)
class Preconditions:
    """What the account told; None = it did not tell."""

    has_spot_role: bool | None
    quota: Quota
    vcpus: float | None


def lacking(told: Preconditions, kind: Kind) -> list[str]:
    """What the account lacks, a sentence each with the command that mends it."""
    sentences = []
    if told.quota.lifecycle == SPOT and told.has_spot_role is False:
        sentences.append(f"The account has no role for Spot yet. Create it, once: {SPOT_ROLE}")
    if kind is Kind.QUOTA or (told.vcpus is not None and told.vcpus < LEAST_VCPUS):
        has = "does not tell its quota" if told.vcpus is None else f"may have {told.vcpus:g} vCPUs at a time"
        wanted = 2 * max(8, int(told.vcpus or 0))
        sentences.append(
            f"The account {has} of {told.quota.family} {told.quota.lifecycle} machines. Ask AWS for more: "
            "aws service-quotas request-service-quota-increase --service-code ec2 "
            f"--quota-code {told.quota.code} --desired-value {wanted}"
        )
    return sentences
