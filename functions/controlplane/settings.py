"""Environment variables, read once and typed: the only module that knows them. Each function gets just its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


class BadSettings(Exception):
    """The function was deployed with missing or malformed variables; all of them are named."""


@dataclass(frozen=True)
class Settings:
    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        readers: dict[str, Any] = {"int": int, "float": float, "str": str}
        values, faults = {}, []
        for field in fields(cls):
            name = field.name.upper()
            try:
                values[field.name] = readers[str(field.type)](environ[name])
            except (KeyError, ValueError) as fault:
                faults.append(f"{name}: {fault!r}")
        if faults:
            raise BadSettings("; ".join(faults))
        return cls(**values)


@dataclass(frozen=True)
class _Ledger(Settings):
    ledger_table: str


@dataclass(frozen=True)
class _Batches(_Ledger):
    bucket: str
    batch_queue_url: str
    quiet_seconds: int
    max_wait_seconds: int


@dataclass(frozen=True)
class _Columns(_Ledger):
    text_column: str
    label_column: str


@dataclass(frozen=True)
class _Runs(_Columns):
    bucket: str
    batch_queue_url: str
    alerts_topic_arn: str
    launch_template_id: str
    launch_template_version: str
    subnet_ids: str
    instance_types: str
    stack: str
    max_concurrent_runs: int
    max_attempts: int
    spot_attempts: int
    deadline_hours: float
    guard_group: str
    guard_role_arn: str
    max_run_hours: float
    max_run_cost: float
    monthly_budget: float
    max_rejected_share: float
    max_data_shift: float
    recipe: str
    encoder_prefix: str
    capacity_wait_seconds: int


@dataclass(frozen=True)
class _Gate(_Ledger):
    served_dataset: str
    min_gain: float
    max_p: float
    max_class_loss: float
    max_calibration_loss: float


@dataclass(frozen=True)
class _Service(_Ledger):
    alerts_topic_arn: str
    cluster: str
    service: str
    repository_uri: str
    models_uri: str
    placeholder_image: str


@dataclass(frozen=True)
class _Scans(_Ledger):
    repository: str
    scan_policy: str
    max_severity: str
    scan_timeout_minutes: int


@dataclass(frozen=True)
class _Pushes(_Scans):
    deploy_tag_pattern: str
    cpu_architecture: str


@dataclass(frozen=True)
class _FailedTasks(_Service):
    inference_logs: str
    bake_minutes: int


@dataclass(frozen=True)
class _Rollout(_FailedTasks):
    bucket: str
    probe_function: str
    look_queue_url: str
    rollout_timeout_minutes: int
    deployment_strategy: str
    shift_percent: int
    shift_minutes: int
    keep_old_minutes: int


@dataclass(frozen=True)
class OnDataDropped(_Batches, _Columns):
    trainer_image: str


@dataclass(frozen=True)
class OnBatchSettled(_Batches, _Runs):
    pass


@dataclass(frozen=True)
class OnMachineChanged(_Runs):
    pass


@dataclass(frozen=True)
class OnModelPublished(_Runs, _Gate, _Service):
    pass


@dataclass(frozen=True)
class OnImagePushed(_Pushes, _Service):
    pass


@dataclass(frozen=True)
class OnImageScanned(_Scans, _Service):
    pass


@dataclass(frozen=True)
class OnDeploymentChanged(_Rollout):
    pass


@dataclass(frozen=True)
class OnProbeAsked(Settings):
    pass


@dataclass(frozen=True)
class OnTrafficShifting(_Ledger):
    bucket: str
    cluster: str
    probe_function: str
    look_queue_url: str


@dataclass(frozen=True)
class OnAlarmChanged(_FailedTasks):
    max_tasks: int
    dashboard: str


@dataclass(frozen=True)
class OnPersonDecided(_Service):
    repository: str


@dataclass(frozen=True)
class OnReconcileDue(_Batches, _Runs, _Gate, _Rollout, _Pushes):
    pass


@dataclass(frozen=True)
class OnStackDeploying(_Ledger):
    bucket: str
    repository_uri: str
    placeholder_image: str
