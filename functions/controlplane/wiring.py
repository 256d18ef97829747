"""Settings in, ready flows out: the only place where adapters meet flows. Each builds just the clients that it uses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3

from . import settings
from . import wiring_runs as runs
from .adapters.ecr_images import EcrImages
from .adapters.ecr_scans import EcrScans
from .adapters.http_tasks import HttpTasks
from .adapters.sns_notifier import SnsNotifier
from .adapters.sqs_timer import SqsTimer
from .adapters.yaml_text import read_yaml
from .domain.alarms import AlarmChange
from .domain.config import RECIPES
from .domain.drops import Drop
from .domain.gate import Policy
from .domain.images import Push
from .domain.machines import AttemptEnded, MachineChanged
from .domain.manifests import Platform
from .domain.scans import ScanPolicy
from .domain.serving import Placeholder, serving_release
from .flows.common import on_conflict_again, tell_people, then_tell
from .flows.decisions import Decisions
from .flows.incidents import Incidents
from .flows.ingest import Ingest
from .flows.machines import Machines
from .flows.probing import Probing
from .flows.pushes import Pushes
from .flows.reconcile import Reconcile
from .flows.releasing import Releasing
from .flows.scanning import Scanning
from .parts import (
    ServiceSettings,
    crashing_of,
    failed_tasks_of,
    releasing_of,
    service_of,
    settling_of,
    shifting_of,
    taking_back_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .domain.probes import Proof, Question
    from .domain.runs import Run
    from .domain.shifting import Shift

Environ = Mapping[str, str]
clock, _ledger = runs.clock, runs.ledger


def on_data_dropped(environ: Environ = os.environ) -> Callable[[Drop], str]:
    s = settings.OnDataDropped.load(environ)
    return Ingest(
        ledger=_ledger(s),
        bucket=runs.bucket(s.bucket),
        timer=SqsTimer(boto3.client("sqs"), s.batch_queue_url),
        clock=clock,
        columns=runs.columns(s),
        patience=runs.patience(s),
        read_yaml=read_yaml,
        recipes=None if s.trainer_image else RECIPES,
    ).take


def on_batch_settled(
    environ: Environ = os.environ,
) -> Callable[[str | None, str, datetime | None, str | None], list[str]]:
    """The timer's message in: a batch, a machine that was warned, or neither (only look at the queue of runs)."""
    s = settings.OnBatchSettled.load(environ)
    training, machines, launching, tell = runs.training(s), runs.machines(s), runs.launching(s), _telling(s)

    def settle(dataset: str | None, batch_id: str, as_of: datetime | None, machine_id: str | None) -> list[str]:
        done = []
        if dataset is not None and as_of is not None:
            done.append(training.settle(dataset, batch_id, as_of, patience=runs.patience(s)))
        if machine_id is not None:
            done.append(on_conflict_again(lambda: machines.not_heard_of(machine_id)))
        done += [f"launched {run_id}" for run_id in launching.work_queue()]
        tell()
        return done

    return settle


def on_machine_changed(environ: Environ = os.environ) -> Callable[[MachineChanged | AttemptEnded], list[str]]:
    """What EC2 says of a machine, or what a trainer wrote about the end of its attempt."""
    s = settings.OnMachineChanged.load(environ)
    machines, launching, tell = runs.machines(s), runs.launching(s), _telling(s)

    def change(told: MachineChanged | AttemptEnded) -> list[str]:
        if isinstance(told, MachineChanged) and told.alive is None:
            return [machines.warned(told.machine) if told.is_warning else "not up yet"]
        done = [on_conflict_again(lambda: _heard(machines, told))]
        done += [f"launched {run_id}" for run_id in launching.work_queue()]
        tell()
        return done

    return change


def _heard(machines: Machines, told: MachineChanged | AttemptEnded) -> str:
    if isinstance(told, AttemptEnded):
        return machines.said(told.run_id, told.attempt)
    return machines.changed(told.machine, alive=bool(told.alive))


def on_model_published(environ: Environ = os.environ) -> Callable[[str], list[str]]:
    s = settings.OnModelPublished.load(environ)
    training, launching, releasing, tell = (
        runs.training(s),
        runs.launching(s),
        releasing_of(s, service_of(s)),
        _telling(s),
    )

    def publish(run_id: str) -> list[str]:
        run: Run | None = training.model_published(run_id, policy=_policy(s), served_dataset=s.served_dataset)
        if run is None:
            return ["ignored: the ledger knows no such run"]
        done = [f"{run_id} {run.state}: {run.reason}"]
        if run.state == "PROMOTED" and run.dataset == s.served_dataset:
            done += releasing.propose(f"model {run_id}", model=run_id)
        done += [f"launched {other}" for other in launching.work_queue()]
        tell()
        return done

    return publish


def on_image_pushed(environ: Environ = os.environ) -> Callable[[Push], list[str]]:
    """Raises IgnoredPush."""
    s = settings.OnImagePushed.load(environ)
    pushes = _pushes(s, releasing_of(s, service_of(s)))
    return then_tell(pushes.take, _telling(s))


def on_image_scanned(environ: Environ = os.environ) -> Callable[[str, datetime], list[str]]:
    """The image, and when its scan was over. That is a hint to look; what ECR says now is what counts."""
    s = settings.OnImageScanned.load(environ)
    scanning = _scanning(s, releasing_of(s, service_of(s)))
    return then_tell(scanning.told, _telling(s))


def on_deployment_changed(environ: Environ = os.environ) -> Callable[[], list[str]]:
    """The event is a hint; what ECS says now, and what the tasks answer, is what counts."""
    s = settings.OnDeploymentChanged.load(environ)
    settling, crashing, tell = settling_of(s), crashing_of(s), _telling(s)

    def settle() -> list[str]:
        done = [*settling.settle(), *crashing.look()]
        tell()
        return done

    return settle


def on_probe_asked(
    environ: Environ = os.environ,
) -> Callable[[Question, Sequence[str], float], list[tuple[str, Proof]]]:
    settings.OnProbeAsked.load(environ)
    return Probing(HttpTasks(), time.monotonic).ask


def on_traffic_shifting(environ: Environ = os.environ) -> Callable[[str, str], Shift]:
    """The service's name and the revision in: ECS tells them, for the template cannot."""
    s = settings.OnTrafficShifting.load(environ)

    def shift(service: str, revision: str) -> Shift:
        return shifting_of(s, service).ask(revision)

    return shift


def on_alarm_changed(environ: Environ = os.environ) -> Callable[[AlarmChange], str]:
    s = settings.OnAlarmChanged.load(environ)
    service = service_of(s)
    incidents = Incidents(
        ledger=_ledger(s),
        service=service,
        releasing=releasing_of(s, service),
        taking_back=taking_back_of(s, service),
        failed_tasks=failed_tasks_of(s),
        clock=clock,
        ceiling=s.max_tasks,
        bake=timedelta(minutes=s.bake_minutes),
        dashboard=s.dashboard,
    )
    return then_tell(incidents.answer, _telling(s))


def on_person_decided(environ: Environ = os.environ) -> Callable[[object, str], dict[str, Any]]:
    s = settings.OnPersonDecided.load(environ)
    decisions = Decisions(
        ledger=_ledger(s),
        images=EcrImages(boto3.client("ecr"), s.repository),
        releasing=releasing_of(s, service_of(s)),
        clock=clock,
    )
    return then_tell(decisions.take, _telling(s))


def on_reconcile_due(environ: Environ = os.environ) -> Callable[[], list[str]]:
    s = settings.OnReconcileDue.load(environ)
    releasing = releasing_of(s, service_of(s))
    reconcile = Reconcile(
        ledger=_ledger(s),
        fleet=runs.fleet(s),
        pushes=_pushes(s, releasing),
        training=runs.training(s),
        launching=runs.launching(s),
        machines=runs.machines(s),
        releasing=releasing,
        settling=settling_of(s),
        crashing=crashing_of(s),
        clock=clock,
        patience=runs.patience(s),
        policy=_policy(s),
        served_dataset=s.served_dataset,
    )
    return then_tell(reconcile.look, _telling(s))


def on_stack_deploying(environ: Environ = os.environ) -> Callable[[], dict[str, str]]:
    s = settings.OnStackDeploying.load(environ)
    ledger = _ledger(s)
    placeholder = Placeholder(image=s.placeholder_image)
    return lambda: serving_release(ledger.rollout(), placeholder, repository_uri=s.repository_uri, bucket=s.bucket)


_RunSettings = runs.RunSettings


def _pushes(s: settings.OnImagePushed | settings.OnReconcileDue, releasing: Releasing) -> Pushes:
    return Pushes(
        ledger=_ledger(s),
        images=EcrImages(boto3.client("ecr"), s.repository),
        releasing=releasing,
        scanning=_scanning(s, releasing),
        repository=s.repository,
        tag_pattern=s.deploy_tag_pattern,
        platform=Platform(s.cpu_architecture),
    )


_ScanSettings = settings.OnImagePushed | settings.OnImageScanned | settings.OnReconcileDue


def _scanning(s: _ScanSettings, releasing: Releasing) -> Scanning:
    return Scanning(
        ledger=_ledger(s),
        scans=EcrScans(boto3.client("ecr"), s.repository),
        releasing=releasing,
        clock=clock,
        policy=ScanPolicy(s.scan_policy),
        highest=s.max_severity,
        patience=timedelta(minutes=s.scan_timeout_minutes),
        repository=s.repository,
    )


def _policy(s: settings.OnModelPublished | settings.OnReconcileDue) -> Policy:
    return Policy(
        min_gain=s.min_gain, max_p=s.max_p, max_class_loss=s.max_class_loss, max_calibration_loss=s.max_calibration_loss
    )


def _telling(s: _RunSettings | ServiceSettings) -> Callable[[], int]:
    ledger, notifier = _ledger(s), SnsNotifier(boto3.client("sns"), s.alerts_topic_arn)
    return lambda: tell_people(ledger, notifier, clock)
