"""The only reader of the environment. A wrong environment is told as a whole, not one variable at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class WrongEnvironment(Exception):
    """Names every variable that is missing or wrong."""


@dataclass(frozen=True)
class Settings:
    bucket: str
    run_id: str
    attempt: int
    trainer_version: str
    machine: dict[str, str]
    watch_machine: bool
    metadata_endpoint: str
    processes: int | None  # None = one a GPU
    machine_started: float | None  # when the machine began to cost, in seconds since 1970; None = with the trainer

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        faults = [
            f"{name} is not set"
            for name in ("TIDEGATE_BUCKET", "TIDEGATE_RUN", "TIDEGATE_ATTEMPT")
            if not environ.get(name)
        ]
        attempt = environ.get("TIDEGATE_ATTEMPT", "")
        if attempt and not (attempt.isascii() and attempt.isdigit() and int(attempt) >= 1):
            faults.append(f"TIDEGATE_ATTEMPT must be a whole number from 1, not {attempt!r}")
        started = environ.get("TIDEGATE_MACHINE_STARTED", "")
        if started and not (started.isascii() and started.isdigit()):
            faults.append(f"TIDEGATE_MACHINE_STARTED must be whole seconds since 1970 (date +%s), not {started!r}")
        processes = environ.get("TIDEGATE_PROCESSES", "")
        if processes and not (processes.isascii() and processes.isdigit() and int(processes) >= 1):
            faults.append(f"TIDEGATE_PROCESSES must be a whole number from 1, not {processes!r}")
        if faults:
            raise WrongEnvironment("; ".join(faults) + ".")
        return cls(
            bucket=environ["TIDEGATE_BUCKET"],
            run_id=environ["TIDEGATE_RUN"],
            attempt=int(attempt),
            trainer_version=environ.get("TIDEGATE_TRAINER_VERSION") or "local",
            machine={
                "id": environ.get("TIDEGATE_MACHINE_ID") or "local",
                "type": environ.get("TIDEGATE_MACHINE_TYPE") or "unknown",
                "zone": environ.get("TIDEGATE_MACHINE_ZONE") or "unknown",
                "lifecycle": environ.get("TIDEGATE_MACHINE_LIFECYCLE") or "unknown",
            },
            watch_machine=environ.get("TIDEGATE_WATCH_MACHINE") == "1",
            metadata_endpoint=environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254",
            processes=int(processes) if processes else None,
            machine_started=float(started) if started else None,
        )
