"""`python -m trainer`: one attempt at one run, as the environment says. The exit code says how it ended.

0  the model is published
2  the environment is incomplete
3  failed: trying again cannot help; outcome.json says why
4  interrupted: the checkpoint is saved, another machine goes on
5  stopped: a limit of the spec is reached, the checkpoint is saved; it goes on when a person raises the limit
1  a defect: train.log has the trace, and there is no outcome
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

# Before torch is loaded: with the same instructions on every machine, sums round the same on the next one.
os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
os.environ.setdefault("MKL_CBWR", "AVX2")
# Threads that wait must sleep: on a machine that is shared, spinning ones made a fit twenty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# On a GPU, products of matrices are repeatable only with a workspace of fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# TensorBoard's event writer must not look for TensorFlow or a GPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import torch

from trainer import VERSION
from trainer.errors import Failed, Interrupted, Stopped
from trainer.journal import Journal
from trainer.loop import follow
from trainer.machine import MetadataService, Watch, watch_metadata, watch_sigterm
from trainer.settings import Settings, WrongEnvironment
from trainer.spec import Spec
from trainer.store import S3Store, Store
from trainer.team import Team, join, launch
from trainer.train import train

ENVIRONMENT = """
environment:
  TIDEGATE_BUCKET             the bucket (required)
  TIDEGATE_RUN                the run id; runs/<run id>/spec.json says what to do (required)
  TIDEGATE_ATTEMPT            which attempt this is, from 1 (required)
  TIDEGATE_TRAINER_VERSION    recorded in the manifest (default: local)
  TIDEGATE_MACHINE_ID, _TYPE, _ZONE, _LIFECYCLE
                              recorded in the manifest (default: local, unknown, unknown, unknown)
  TIDEGATE_MACHINE_STARTED    when the machine began to cost, in seconds since 1970: its minutes before the trainer
                              count for the limits (default: when the trainer started)
  TIDEGATE_PROCESSES          how many processes share the steps of a recipe that can, under torchrun
                              (default: one a GPU)
  TIDEGATE_WATCH_MACHINE      1: ask the metadata service every 5 s for a Spot notice
  AWS_EC2_METADATA_SERVICE_ENDPOINT
                              where the metadata service is (default: http://169.254.169.254)

exit codes:
  0 trained   1 a defect   2 wrong environment   3 failed for good   4 interrupted, goes on elsewhere
  5 stopped: a limit is reached; the checkpoint is saved
"""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Train the model of one run: a snapshot of CSV files in, models/<run id>/ out.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tidegate trainer {VERSION}")
    parser.add_argument("--rank-of-a-team", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    told: Path | None = parser.parse_args(arguments).rank_of_a_team
    try:
        settings = Settings.of(environ)
    except WrongEnvironment as fault:
        print(f"The environment is incomplete: {fault} See python -m trainer --help.", file=sys.stderr)
        return 2
    processes = settings.processes or torch.cuda.device_count()
    if told is None and processes > 1:
        return launch(processes, environ)
    if told is not None and join() > 0:
        follow()
        return 0
    already_s = 0.0 if settings.machine_started is None else max(0.0, time.time() - settings.machine_started)
    watch = Watch(time.monotonic, already_s)
    watch_sigterm(watch)
    if settings.watch_machine:
        watch_metadata(watch, MetadataService(settings.metadata_endpoint))
    if told is None:
        return attempt(settings, S3Store(settings.bucket), watch)
    team = Team(others=True)
    code = attempt(settings, S3Store(settings.bucket), watch, team=team)
    team.dismiss()
    told.write_text(str(code))
    return 0  # torchrun takes anything else for a crash


def attempt(settings: Settings, store: Store, watch: Watch, spec: Spec | None = None, team: Team | None = None) -> int:
    """One attempt; gives the exit code. Without a spec the run's own is read from the store."""
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        journal = Journal(store, settings.run_id, settings.attempt, Path(folder), time.monotonic, _now)
        try:
            train(settings, store, journal, watch, Path(folder), _now, spec, team)
        except Failed as failed:
            journal.outcome("failed", str(failed))
            return 3
        except Interrupted as interrupted:
            journal.outcome("interrupted", str(interrupted), interrupted.cause)
            return 4
        except Stopped as stopped:
            journal.outcome("stopped", str(stopped), stopped.cause)
            return 5
        except Exception as defect:  # noqa: BLE001  the last door: the trace goes to train.log, not to a person
            journal.trace()
            journal.say(
                f"Unexpected {type(defect).__name__}: this is a defect. The trace is in {journal.prefix}train.log."
            )
            journal.flush()
            return 1
        finally:
            journal.close()
    return 0


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
