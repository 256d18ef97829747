"""ECS in memory, and what its tasks prove: deployments roll and fall back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controlplane.domain.crashes import Ended
from controlplane.domain.failures import FailedTask
from controlplane.domain.probes import Proof, Question, Verdict
from controlplane.domain.releases import Release
from controlplane.domain.service_view import Deployment, RunningTask, ServiceView


@dataclass
class FakeService:
    """ECS: the newest deployment is PRIMARY; the circuit breaker makes one more, of the release that ran before.

    `up` are the tasks of the newest that run already, beside those of the one that ran before.
    """

    desired: int = 2
    deployments: list[Deployment] = field(default_factory=lambda: [Deployment("d0", None, True, "COMPLETED")])
    images: dict[int | None, str] = field(default_factory=lambda: {None: "sha256:placeholder"})
    running: int | None = None
    up: int = 0
    made: int = 0

    def view(self) -> ServiceView:
        release = self.primary.release
        count = self.desired if self.running == release else self.up
        tasks = tuple(
            RunningTask(f"t{release}-{number}", f"10.77.{release}.{number}:8080", self.images[release])
            for number in range(count)
        )
        return ServiceView(tuple(self.deployments), tasks, self.desired, 0 if self.running == release else self.desired)

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    def deploy(self, release: Release) -> str:
        if self.primary.release != release.carried:
            if release.carried is not None:
                assert release.image
                self.images[release.carried] = release.image
            self._start(release.carried)
        return self.primary.deployment_id

    def release_of(self, revision: str) -> int | None:
        return None if revision == "revision None" else int(revision.removeprefix("revision "))

    def scale_to(self, count: int) -> None:
        self.desired = count

    def completes(self) -> str:
        """The primary deployment gets steady; return its id."""
        self.deployments = [replace(self.primary, rollout="COMPLETED")]
        self.running, self.up = self.primary.release, 0
        return self.primary.deployment_id

    def breaks(self, why: str = "tasks failed to start") -> str:
        """The circuit breaker trips: the deployment fails, and ECS goes back. Return the id of the one that failed."""
        fallen = replace(self.primary, rollout="FAILED", reason=why)
        self.deployments = [fallen, *self.deployments[1:]]
        self._start(self.running)
        return fallen.deployment_id

    def set_by_another(self, release: int | None) -> None:
        """Somebody else, such as CloudFormation, updates the service to this release; what was there is drained."""
        self._start(release)
        self.deployments = [self.primary]

    def _start(self, release: int | None) -> None:
        self.made, self.up = self.made + 1, 0
        older = [replace(deployment, is_primary=False) for deployment in self.deployments]
        self.deployments = [Deployment(f"d{self.made}", release, True, "IN_PROGRESS"), *older]


@dataclass
class FakeProber:
    """Every task agrees, until a test says otherwise of a release."""

    says: dict[int, Proof] = field(default_factory=dict)
    asked: list[tuple[Question, tuple[str, ...]]] = field(default_factory=list)

    def ask(self, question: Question, addresses: Sequence[str]) -> Mapping[str, Proof]:
        self.asked.append((question, tuple(addresses)))
        return dict.fromkeys(addresses, self.says.get(question.release, Proof(Verdict.AGREES, "all agree")))


@dataclass
class FakeFailedTasks:
    """What is known of failed tasks, by release."""

    known: dict[int, FailedTask] = field(default_factory=dict)
    ended: dict[int, list[Ended]] = field(default_factory=dict)

    def crashed(self, release: Release) -> Sequence[Ended]:
        return self.ended.get(release.number, [])

    def of(self, release: Release, task_id: str | None = None) -> FailedTask | None:
        task = self.known.get(release.number)
        return replace(task, task_id=task_id or task.task_id) if task else None
