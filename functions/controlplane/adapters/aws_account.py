"""What the account has: its Spot role from IAM, its quota from Service Quotas. Asked only when EC2 refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from ..domain.account import Preconditions, Quota

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_service_quotas import ServiceQuotasClient

SPOT_ROLE = "AWSServiceRoleForEC2Spot"


class AwsAccount:
    """Both only sharpen what people are told: a service that does not answer must not keep a run from waiting."""

    def __init__(self, iam: IAMClient, quotas: ServiceQuotasClient) -> None:
        self._iam, self._quotas = iam, quotas

    def preconditions(self, quota: Quota) -> Preconditions:
        return Preconditions(self._has_spot_role(), quota, self._vcpus(quota))

    def _has_spot_role(self) -> bool | None:
        try:
            self._iam.get_role(RoleName=SPOT_ROLE)
        except ClientError as fault:
            return False if fault.response["Error"]["Code"] == "NoSuchEntity" else None
        except BotoCoreError:
            return None
        return True

    def _vcpus(self, quota: Quota) -> float | None:
        try:
            told = self._quotas.get_service_quota(ServiceCode="ec2", QuotaCode=quota.code)["Quota"]
        except (ClientError, BotoCoreError):
            return None
        return float(told["Value"]) if "Value" in told else None
