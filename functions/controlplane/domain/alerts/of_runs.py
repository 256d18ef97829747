"""What people read of drops, runs and their machines."""

from __future__ import annotations

import json
from datetime import datetime

from ..batches import Batch
from ..runs import Run, RunState
from .alert import Alert


def drops_refused(batch: Batch, bucket: str) -> Alert:
    """One alert a batch, however many of its drops were refused."""
    lines = [
        f"\n  {_quoted(drop.key)}: {drop.sentence}\n    s3://{bucket}/quarantine/{drop.drop_id}/report.html"
        for drop in batch.refused
    ]
    more = batch.refused_count - len(batch.refused)
    if more:
        lines.append(f"\n  and {more} more; see s3://{bucket}/quarantine/")
    files = "1 file" if batch.refused_count == 1 else f"{batch.refused_count} files"
    return Alert.of(
        f"refused {batch.batch_id}",
        f"Tidegate: {files} refused in dataset {batch.dataset}",
        happened=f"{files} dropped into dataset {batch.dataset} cannot be trained on; {batch.accepted} accepted.",
        why="".join(lines),
        done="Each got a report in quarantine/. The files stay where they are; they are left out of training.",
        to_do="Mend them and upload them again.",
        look=f"s3://{bucket}/quarantine/",
    )


def run_ended(run: Run, *, sentence: str, cost: str, bucket: str, serves: bool, instead_to_do: str = "") -> Alert:
    """PROMOTED, REJECTED or FAILED. `instead_to_do`: where the usual advice is not the right one."""
    done, to_do = {
        RunState.PROMOTED: (
            "It is the champion now and goes into the next release."
            if serves
            else "It is the champion of its dataset. Only the champion of ServedDataset is served, as before.",
            "Nothing.",
        ),
        RunState.REJECTED: ("The champion stays. The model is kept.", "Nothing, unless you expected better."),
        RunState.FAILED: (
            "The run was ended. What serves was not touched.",
            "Mend the cause and drop the data again.",
        ),
    }[run.state]
    what = {"PROMOTED": "new champion", "REJECTED": "challenger refused", "FAILED": "run failed"}[run.state.value]
    return Alert.of(
        f"run {run.run_id} {run.state}",
        f"Tidegate: {what} in dataset {run.dataset} ({run.run_id})",
        happened=f"Run {run.run_id} of dataset {run.dataset} ended {run.state}: {cost}.",
        why=sentence,
        done=done,
        to_do=instead_to_do or to_do,
        look=f"run card s3://{bucket}/runs/{run.run_id}/card.html, logs s3://{bucket}/logs/{run.run_id}/",
    )


def run_waits_id(run: Run) -> str:
    return f"run {run.run_id} waits"


def run_waits(run: Run, why: str, to_do: str, again: datetime) -> Alert:
    """Told once a run, however often EC2 refuses."""
    return Alert.of(
        run_waits_id(run),
        f"Tidegate: run {run.run_id} waits for a machine",
        happened=f"No machine could be had for run {run.run_id} of dataset {run.dataset}.",
        why=why,
        done=f"EC2 is asked again at {again:%H:%M:%S} UTC, then in growing gaps of up to 15 minutes; on-demand after "
        "SpotAttempts refusals. What serves was not touched.",
        to_do=to_do,
        look="EC2 console, Spot requests and limits",
    )


def few_pools(why: str) -> Alert:
    """Told once for each number of pools."""
    return Alert.of(
        f"few pools: {why}",
        "Tidegate: few pools to take machines from",
        happened="A machine was had all the same.",
        why=why,
        done="Nothing.",
        to_do="Give more InstanceTypes (or SubnetIds in more zones) and deploy again, if machines are hard to get.",
        look="docs/operations.md, Spot",
    )


def budget_used_up(run: Run, why: str, month: str) -> Alert:
    """Told once a month, however many runs wait."""
    return Alert.of(
        f"budget {month}",
        f"Tidegate: the budget of {month} is used up, runs wait",
        happened=f"Run {run.run_id} of dataset {run.dataset} is not started, nor is any run after it.",
        why=why,
        done="It waits in the queue, and is looked at again every five minutes. What serves was not touched.",
        to_do="Nothing: it starts when the month turns. Or raise MonthlyBudget (0 = none) and deploy.",
        look="CloudWatch dashboard, Spend on machines",
    )


def machine_orphaned(machine: str, run_id: str, why: str) -> Alert:
    return Alert.of(
        f"orphan {machine}",
        f"Tidegate: stray machine {machine} ended",
        happened=f"Machine {machine} was running for run {run_id}.",
        why=why,
        done="It was terminated.",
        to_do="Nothing.",
        look=f"EC2 instance {machine}",
    )


def _quoted(key: str) -> str:
    """Quotes and line breaks of a key are escaped, so that it cannot pass for a line of ours."""
    return json.dumps(key, ensure_ascii=False)
