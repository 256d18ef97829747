"""How the flows around runs are built: what several functions share. `wiring.py` says which function gets which."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

import boto3
from botocore.config import Config as ClientConfig

from . import settings
from .adapters.aws_account import AwsAccount
from .adapters.aws_prices import AwsPrices
from .adapters.dynamo_ledger import DynamoLedger
from .adapters.ec2_fleet import Ec2Fleet
from .adapters.s3_bucket import S3Bucket
from .adapters.scheduler_guard import SchedulerGuard
from .adapters.sqs_timer import SqsTimer
from .domain.batches import Patience
from .domain.caps import Caps
from .domain.config import Config
from .domain.drops import Columns
from .domain.pools import SpotPolicy, pools_of
from .flows.launching import Launching, LaunchPolicy
from .flows.machines import Machines
from .flows.runbook import RunBook
from .flows.spending import Spending
from .flows.training import Training


def clock() -> datetime:
    return datetime.now(UTC)


def pause(number: int) -> None:
    """At most 0.1, 0.2, 0.4, … seconds: by chance, so that those who met do not meet again."""
    time.sleep(random.uniform(0, 0.05 * 2**number))


RunSettings = settings.OnBatchSettled | settings.OnMachineChanged | settings.OnModelPublished | settings.OnReconcileDue


def ledger(s: settings._Ledger) -> DynamoLedger:
    return DynamoLedger(boto3.client("dynamodb"), s.ledger_table, pause)


def bucket(name: str) -> S3Bucket:
    return S3Bucket(boto3.client("s3"), name)


def columns(s: settings.OnDataDropped) -> Columns:
    return Columns(text=s.text_column or None, label=s.label_column or None)


def patience(s: settings.OnDataDropped | settings.OnBatchSettled | settings.OnReconcileDue) -> Patience:
    return Patience(quiet=timedelta(seconds=s.quiet_seconds), max_wait=timedelta(seconds=s.max_wait_seconds))


def fleet(s: RunSettings) -> Ec2Fleet:
    return Ec2Fleet(
        boto3.client("ec2"),
        launch_template=s.launch_template_id,
        version=s.launch_template_version,
        stack=s.stack,
    )


def book(s: RunSettings) -> RunBook:
    return RunBook(ledger=ledger(s), bucket=bucket(s.bucket), clock=clock, bucket_name=s.bucket)


def spending(s: RunSettings) -> Spending:
    ec2 = boto3.client("ec2")
    quick = ClientConfig(connect_timeout=3, read_timeout=5, retries={"max_attempts": 2})
    prices = AwsPrices(
        ec2,
        boto3.client("pricing", region_name="us-east-1", config=quick),  # the price list of all regions is there
        region=ec2.meta.region_name,
        types=list(dict.fromkeys(kind.strip() for kind in s.instance_types.split(",") if kind.strip())),
        subnets=[subnet.strip() for subnet in s.subnet_ids.split(",") if subnet.strip()],
    )
    caps = Caps(cost=s.max_run_cost, hours=s.max_run_hours, budget=s.monthly_budget)
    return Spending(ledger=ledger(s), prices=prices, clock=clock, caps=caps)


def timer(s: RunSettings) -> SqsTimer:
    return SqsTimer(boto3.client("sqs"), s.batch_queue_url)


def launching(s: RunSettings) -> Launching:
    policy = LaunchPolicy(
        pools=pools_of(s.instance_types.split(","), s.subnet_ids.split(",")),
        max_concurrent=s.max_concurrent_runs,
        longest=timedelta(hours=s.max_run_hours),
        first_wait=timedelta(seconds=s.capacity_wait_seconds),
        spot=SpotPolicy(attempts=s.spot_attempts, deadline=timedelta(hours=s.deadline_hours)),
    )
    return Launching(
        ledger=ledger(s),
        bucket=bucket(s.bucket),
        fleet=fleet(s),
        guard=SchedulerGuard(boto3.client("scheduler"), group=s.guard_group, role_arn=s.guard_role_arn),
        account=AwsAccount(boto3.client("iam"), boto3.client("service-quotas")),
        timer=timer(s),
        clock=clock,
        jitter=random.random,
        book=book(s),
        spending=spending(s),
        policy=policy,
    )


def machines(s: RunSettings) -> Machines:
    return Machines(
        ledger=ledger(s),
        bucket=bucket(s.bucket),
        fleet=fleet(s),
        timer=timer(s),
        clock=clock,
        book=book(s),
        max_attempts=s.max_attempts,
    )


def training(s: RunSettings) -> Training:
    return Training(
        ledger=ledger(s),
        bucket=bucket(s.bucket),
        fleet=fleet(s),
        timer=timer(s),
        clock=clock,
        book=book(s),
        spending=spending(s),
        config=config(s),
    )


def config(s: RunSettings) -> Config:
    return Config(
        recipe=s.recipe,
        encoder=s.encoder_prefix,
        text_column=s.text_column or None,
        label_column=s.label_column or None,
        max_rejected_share=s.max_rejected_share,
        max_data_shift=s.max_data_shift,
    )
