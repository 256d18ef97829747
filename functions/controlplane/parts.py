"""How the flows around releases are built: what several functions share. `wiring.py` says which function gets which."""

from __future__ import annotations

from datetime import timedelta

import boto3
from botocore.config import Config as ClientConfig

from . import settings
from .adapters.ecs_service import EcsService
from .adapters.failed_tasks import EcsFailedTasks
from .adapters.lambda_prober import LambdaProber
from .adapters.sqs_looks import SqsLooks
from .domain.shifting import shifts_for
from .flows.crashing import Crashing
from .flows.releasing import Releasing
from .flows.settling import Settling, TakingBack
from .flows.shifting import Shifting
from .wiring_runs import bucket, clock, ledger

ServiceSettings = (
    settings.OnModelPublished
    | settings.OnImagePushed
    | settings.OnImageScanned
    | settings.OnDeploymentChanged
    | settings.OnAlarmChanged
    | settings.OnPersonDecided
    | settings.OnReconcileDue
)
RolloutSettings = settings.OnDeploymentChanged | settings.OnReconcileDue
PROBE_SECONDS = 150  # the probe's own time limit, in template.yaml


def service_of(s: ServiceSettings) -> EcsService:
    return EcsService(
        boto3.client("ecs"),
        cluster=s.cluster,
        service=s.service,
        repository_uri=s.repository_uri,
        models_uri=s.models_uri,
        placeholder_image=s.placeholder_image,
    )


def releasing_of(s: ServiceSettings, service: EcsService) -> Releasing:
    return Releasing(ledger=ledger(s), service=service, clock=clock, service_name=s.service)


def failed_tasks_of(s: settings._FailedTasks) -> EcsFailedTasks:
    return EcsFailedTasks(
        boto3.client("ecs"),
        boto3.client("logs"),
        cluster=s.cluster,
        service=s.service,
        log_group=s.inference_logs,
    )


def taking_back_of(s: settings.OnAlarmChanged | RolloutSettings, service: EcsService) -> TakingBack:
    return TakingBack(
        failed_tasks=failed_tasks_of(s),
        releasing=releasing_of(s, service),
        clock=clock,
    )


def crashing_of(s: RolloutSettings) -> Crashing:
    return Crashing(
        ledger=ledger(s),
        failed_tasks=failed_tasks_of(s),
        releasing=releasing_of(s, service_of(s)),
        clock=clock,
        bake=timedelta(minutes=s.bake_minutes),
    )


def shifting_takes(s: RolloutSettings) -> timedelta:
    return shifts_for(
        s.deployment_strategy,
        percent=s.shift_percent,
        step=timedelta(minutes=s.shift_minutes),
        keep_old=timedelta(minutes=s.keep_old_minutes),
    )


def prober_of(s: RolloutSettings | settings.OnTrafficShifting) -> LambdaProber:
    patient = ClientConfig(read_timeout=PROBE_SECONDS + 5, retries={"total_max_attempts": 1})
    return LambdaProber(boto3.client("lambda", config=patient), s.probe_function)


def shifting_of(s: settings.OnTrafficShifting, service: str) -> Shifting:
    looking = EcsService(
        boto3.client("ecs"), cluster=s.cluster, service=service, repository_uri="", models_uri="", placeholder_image=""
    )
    return Shifting(
        ledger=ledger(s),
        service=looking,  # it only looks: it has no repository to deploy from
        revisions=looking,
        bucket=bucket(s.bucket),
        prober=prober_of(s),
        looks=SqsLooks(boto3.client("sqs"), s.look_queue_url),
    )


def settling_of(s: RolloutSettings) -> Settling:
    service = service_of(s)
    return Settling(
        ledger=ledger(s),
        service=service,
        bucket=bucket(s.bucket),
        prober=prober_of(s),
        looks=SqsLooks(boto3.client("sqs"), s.look_queue_url),
        taking_back=taking_back_of(s, service),
        releasing=releasing_of(s, service),
        clock=clock,
        longest=timedelta(minutes=s.rollout_timeout_minutes) + shifting_takes(s),
    )
