"""Why EC2 gave no machine, by its error code, and what to do about it in words.

docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html; CreateFleet tells one code a pool.
What may pass by itself (capacity, price, quota, throttling) is waited for. What a person has to mend (configuration)
fails the run at once; so does a code that nobody knows, for waiting for it might never end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .pools import Pool


class Kind(StrEnum):
    """The most hopeful first: of many answers at once, the first of these kinds is the request's."""

    CAPACITY = "capacity"
    PRICE = "price"
    QUOTA = "quota"
    THROTTLING = "throttling"
    CONFIGURATION = "configuration"


KINDS = {
    "InsufficientInstanceCapacity": Kind.CAPACITY,
    "InsufficientCapacity": Kind.CAPACITY,
    "InsufficientCapacityOnHost": Kind.CAPACITY,
    "InsufficientHostCapacity": Kind.CAPACITY,
    "InsufficientReservedInstanceCapacity": Kind.CAPACITY,
    "InsufficientFreeAddressesInSubnet": Kind.CAPACITY,
    "InsufficientVolumeCapacity": Kind.CAPACITY,
    "UnfulfillableCapacity": Kind.CAPACITY,
    "SpotMaxPriceTooLow": Kind.PRICE,
    "MaxSpotInstanceCountExceeded": Kind.QUOTA,
    "SpotInstanceCountLimitExceeded": Kind.QUOTA,
    "VcpuLimitExceeded": Kind.QUOTA,
    "InstanceLimitExceeded": Kind.QUOTA,
    "VolumeLimitExceeded": Kind.QUOTA,
    "MaxIOPSLimitExceeded": Kind.QUOTA,
    "NetworkInterfaceLimitExceeded": Kind.QUOTA,
    "TargetCapacityLimitExceeded": Kind.QUOTA,
    "TargetCapacityLimitExceededException": Kind.QUOTA,
    "PendingVerification": Kind.QUOTA,
    "RequestLimitExceeded": Kind.THROTTLING,
    "Throttling": Kind.THROTTLING,
    "ThrottlingException": Kind.THROTTLING,
    "RequestThrottled": Kind.THROTTLING,
    "EC2ThrottledException": Kind.THROTTLING,
    "InternalError": Kind.THROTTLING,
    "InternalFailure": Kind.THROTTLING,
    "ServerInternal": Kind.THROTTLING,
    "Unavailable": Kind.THROTTLING,
    "ServiceUnavailable": Kind.THROTTLING,
    "IdempotentParameterMismatch": Kind.THROTTLING,  # the stack changed meanwhile; the next attempt has a new token
}

DEPLOY = "Deploy the stack again (make deploy); somebody changed or deleted a part of it."
TYPES = "Give InstanceTypes that the subnets' zones offer and that fit TrainerAmi's architecture, and deploy again."
SUBNETS = "Give SubnetIds that are there, each in another zone, and deploy again."
AMI = "Give TrainerAmi the name of an SSM parameter that holds an image of this region, and deploy again."
ACCOUNT = "Open the AWS console as the account's owner: AWS wants something of the account first."
NO_SPOT_ROLE = "AuthFailure.ServiceLinkedRoleCreationNotPermitted"
SPOT_ROLE = "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"

# What to do, by the code or by its part before the dot.
WHAT_TO_DO = {
    "UnauthorizedOperation": "Our roles may not do this. Deploy the stack again; if it stays, an organisation's policy "
    "or a permissions boundary forbids it: ask whoever keeps the account.",
    NO_SPOT_ROLE: f"Create the account's Spot role, once: {SPOT_ROLE}",
    "AuthFailure": "EC2 does not take our credentials. Look whether the account is active, and deploy again.",
    "OptInRequired": ACCOUNT,
    "Blocked": ACCOUNT,
    "InvalidAMIID": AMI,
    "InvalidAMIName": AMI,
    "InvalidSubnetID": SUBNETS,
    "InvalidSubnet": SUBNETS,
    "InvalidFleetConfig": SUBNETS + " " + TYPES,
    "InvalidFleetConfiguration": SUBNETS + " " + TYPES,
    "InvalidInstanceType": TYPES,
    "Unsupported": TYPES,
    "UnsupportedOperation": TYPES,
    "InvalidLaunchTemplateId": DEPLOY,
    "InvalidLaunchTemplateName": DEPLOY,
    "InvalidLaunchTemplateVersion": DEPLOY,
    "InvalidGroup": DEPLOY,
    "InvalidIamInstanceProfile": DEPLOY,
    "InvalidIamInstanceProfileArn": DEPLOY,
    "InvalidKMSKey": "Enable the key that encrypts the account's volumes (EBS default encryption), and drop again.",
    "InvalidParameterValue": TYPES + " Or the launch template was changed: deploy again.",
    "InvalidParameterCombination": TYPES + " Or the launch template was changed: deploy again.",
    "InvalidParameter": TYPES + " Or the launch template was changed: deploy again.",
    "MissingParameter": DEPLOY,
}
ELSE = "Read what EC2 says, mend the stack's parameters or permissions, and deploy again."


@dataclass(frozen=True)
class Refusal:
    """What EC2 answered: to one pool, or to the whole request (no pool). `server_fault`: the fault is EC2's (5xx)."""

    code: str
    message: str
    pool: Pool | None = None
    server_fault: bool = False

    @property
    def kind(self) -> Kind:
        unknown = Kind.THROTTLING if self.server_fault else Kind.CONFIGURATION
        return KINDS.get(self.code, unknown)

    @property
    def what_to_do(self) -> str:
        return WHAT_TO_DO.get(self.code) or WHAT_TO_DO.get(self.code.partition(".")[0]) or ELSE


@dataclass(frozen=True)
class Judgement:
    """All answers to one request as one. `sentence` names the code, EC2's words, and how many pools said it."""

    kind: Kind
    sentence: str
    what_to_do: str
    code: str

    @property
    def waits(self) -> bool:
        return self.kind is not Kind.CONFIGURATION


def judge(refusals: Sequence[Refusal]) -> Judgement:
    """The most hopeful answer counts: where one pool only lacks capacity, waiting helps, whatever ails the others."""
    told = refusals or [Refusal("UnfulfillableCapacity", "no pool had a machine")]
    order = list(Kind)
    first = min(told, key=lambda refusal: order.index(refusal.kind))
    same = sum(refusal.code == first.code for refusal in told)
    where = f" in {same} of {len(told)} pools" if len(told) > 1 else ""
    if first.kind is Kind.CONFIGURATION:
        sentence = f"EC2 refused to start a machine{where} ({first.code}): {first.message}"
    else:
        sentence = f"No machine to be had now{where} ({first.kind}, {first.code}): {first.message}"
    return Judgement(first.kind, sentence, first.what_to_do, first.code)
