"""What ECS says of the service: its deployments, its running tasks and what they proved, how many there should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .probes import Proof


@dataclass(frozen=True)
class Deployment:
    """One ECS deployment; `release` is the number that its task definition carries, None for the placeholder."""

    deployment_id: str
    release: int | None
    is_primary: bool
    rollout: str
    reason: str = ""


@dataclass(frozen=True)
class RunningTask:
    """A running task of the primary deployment's revision; `address` is host:port, "" while it has none."""

    task_id: str
    address: str
    digest: str
    proof: Proof | None = None


@dataclass(frozen=True)
class ServiceView:
    """What ECS says now: `draining` counts the running tasks of all deployments but the primary one."""

    deployments: tuple[Deployment, ...]
    tasks: tuple[RunningTask, ...]
    desired: int
    draining: int = 0

    @property
    def running(self) -> int:
        return len(self.tasks)

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(task.digest for task in self.tasks)

    def with_proofs(self, proofs: Mapping[str, Proof]) -> ServiceView:
        """Proofs by task id."""
        return replace(self, tasks=tuple(replace(task, proof=proofs.get(task.task_id)) for task in self.tasks))

    @property
    def primary(self) -> Deployment | None:
        return next((d for d in self.deployments if d.is_primary), None)

    def of(self, release: int | None) -> Deployment | None:
        same = [d for d in self.deployments if d.release == release]
        return next((d for d in same if d.is_primary), same[0] if same else None)
