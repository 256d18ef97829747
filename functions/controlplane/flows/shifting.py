"""ECS asks before it shifts requests: the new tasks are asked, and the answer is said. Nothing is written here.

What the answer means for the release is settled where all ends are: a look is asked for at once when it falls. The
deadline is the rollout's too: once it has passed, the ledger rolls the release no more, and the next answer is no.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ..domain.probes import ChangedGoldenSet, Proof, Question, Verdict
from ..domain.shifting import May, Shift, may_shift
from ..ports import Bucket, Ledger, Looks, Prober, Revisions, Service
from .settling import golden_rows


@dataclass(frozen=True)
class Shifting:
    ledger: Ledger
    service: Service
    revisions: Revisions
    bucket: Bucket
    prober: Prober
    looks: Looks

    def ask(self, revision: str) -> Shift:
        """A task that proved itself to the rollout's own looks is not asked again: a large model takes its time."""
        release = self.revisions.release_of(revision)
        rollout, view = self.ledger.rollout(), self.service.view()
        rolling, primary = rollout.rolling, view.primary
        if rolling and primary and release == primary.release == rolling.number:
            known = {task_id: Proof(Verdict.AGREES) for task_id in rolling.proved}
            to_ask = {task.address: task.task_id for task in view.tasks if task.address and task.task_id not in known}
            if to_ask:
                try:
                    rows = golden_rows(self.bucket, rolling)
                except ChangedGoldenSet as why:
                    self.looks.again(timedelta(0))
                    return Shift(May.FAILED, str(why))
                question = Question(rolling.number, rolling.image or "", rolling.model, rows)
                proofs = self.prober.ask(question, list(to_ask))
                known |= {to_ask[address]: proof for address, proof in proofs.items()}
            view = view.with_proofs(known)
        shift = may_shift(rollout, release, view)
        if shift.may is May.FAILED:
            self.looks.again(timedelta(0))
        return shift
