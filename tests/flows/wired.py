"""Each flow over a world's fakes, every port behind its fuse: what `wiring.py` is for AWS."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from controlplane.domain.batches import Patience
from controlplane.domain.drops import Columns
from controlplane.domain.gate import Policy
from controlplane.domain.manifests import Platform
from controlplane.flows.crashing import Crashing
from controlplane.flows.decisions import Decisions
from controlplane.flows.incidents import Incidents
from controlplane.flows.ingest import Ingest
from controlplane.flows.launching import Launching
from controlplane.flows.machines import Machines
from controlplane.flows.pushes import Pushes
from controlplane.flows.reconcile import Reconcile
from controlplane.flows.releasing import Releasing
from controlplane.flows.runbook import RunBook
from controlplane.flows.scanning import Scanning
from controlplane.flows.settling import Settling, TakingBack
from controlplane.flows.shifting import Shifting
from controlplane.flows.spending import Spending
from controlplane.flows.training import Training

if TYPE_CHECKING:
    from tests.flows.world import World

REPOSITORY = "tidegate/inference"
PATIENCE = Patience(quiet=timedelta(seconds=60), max_wait=timedelta(seconds=900))
BAKE = timedelta(minutes=30)
POLICY = Policy(min_gain=0.002, max_p=0.05, max_class_loss=0.05, max_calibration_loss=0.02)


def ingest(world: World) -> Ingest:
    guard = world.fuse.guard
    return Ingest(
        ledger=guard(world.ledger),
        bucket=guard(world.bucket),
        timer=guard(world.timer),
        clock=world.clock,
        columns=Columns(),
        patience=PATIENCE,
        read_yaml=json.loads,
    )


def book(world: World) -> RunBook:
    return RunBook(world.fuse.guard(world.ledger), world.fuse.guard(world.bucket), world.clock, "data")


def spending(world: World) -> Spending:
    return Spending(world.fuse.guard(world.ledger), world.fuse.guard(world.prices), world.clock, world.caps)


def launching(world: World) -> Launching:
    guard = world.fuse.guard
    return Launching(
        guard(world.ledger),
        guard(world.bucket),
        guard(world.fleet),
        guard(world.guard),
        guard(world.account),
        guard(world.timer),
        world.clock,
        lambda: 0.0,
        book(world),
        spending(world),
        world.policy,
    )


def machines(world: World) -> Machines:
    guard = world.fuse.guard
    return Machines(
        guard(world.ledger),
        guard(world.bucket),
        guard(world.fleet),
        guard(world.timer),
        world.clock,
        book(world),
        world.max_attempts,
    )


def training(world: World) -> Training:
    guard = world.fuse.guard
    return Training(
        guard(world.ledger),
        guard(world.bucket),
        guard(world.fleet),
        guard(world.timer),
        world.clock,
        book(world),
        spending(world),
        world.config,
    )


def releasing(world: World) -> Releasing:
    return Releasing(world.fuse.guard(world.ledger), world.fuse.guard(world.service), world.clock, "service")


def taking_back(world: World) -> TakingBack:
    guard = world.fuse.guard
    return TakingBack(guard(world.failed_tasks), releasing(world), world.clock)


def settling(world: World) -> Settling:
    guard = world.fuse.guard
    return Settling(
        ledger=guard(world.ledger),
        service=guard(world.service),
        bucket=guard(world.bucket),
        prober=guard(world.prober),
        looks=guard(world.timer),
        taking_back=taking_back(world),
        releasing=releasing(world),
        clock=world.clock,
        longest=timedelta(minutes=30),
    )


def crashing(world: World) -> Crashing:
    guard = world.fuse.guard
    return Crashing(guard(world.ledger), guard(world.failed_tasks), releasing(world), world.clock, BAKE)


def pushes(world: World) -> Pushes:
    guard = world.fuse.guard
    platform = Platform("X86_64")
    return Pushes(
        guard(world.ledger), guard(world.images), releasing(world), scanning(world), REPOSITORY, "v.+", platform
    )


def scanning(world: World) -> Scanning:
    return Scanning(
        ledger=world.fuse.guard(world.ledger),
        scans=world.fuse.guard(world.scans),
        releasing=releasing(world),
        clock=world.clock,
        policy=world.scan_policy,
        highest="HIGH",
        patience=timedelta(minutes=15),
        repository=REPOSITORY,
    )


def shifting(world: World) -> Shifting:
    guard = world.fuse.guard
    service = guard(world.service)
    return Shifting(
        ledger=guard(world.ledger),
        service=service,
        revisions=service,
        bucket=guard(world.bucket),
        prober=guard(world.prober),
        looks=guard(world.timer),
    )


def decisions(world: World) -> Decisions:
    guard = world.fuse.guard
    return Decisions(guard(world.ledger), guard(world.images), releasing(world), world.clock)


def incidents(world: World) -> Incidents:
    guard = world.fuse.guard
    return Incidents(
        ledger=guard(world.ledger),
        service=guard(world.service),
        releasing=releasing(world),
        taking_back=taking_back(world),
        failed_tasks=guard(world.failed_tasks),
        clock=world.clock,
        ceiling=4,
        bake=BAKE,
        dashboard="dashboard",
    )


def reconcile(world: World) -> Reconcile:
    guard = world.fuse.guard
    return Reconcile(
        ledger=guard(world.ledger),
        fleet=guard(world.fleet),
        pushes=pushes(world),
        training=training(world),
        launching=launching(world),
        machines=machines(world),
        releasing=releasing(world),
        settling=settling(world),
        crashing=crashing(world),
        clock=world.clock,
        patience=PATIENCE,
        policy=POLICY,
        served_dataset=world.served_dataset,
    )
