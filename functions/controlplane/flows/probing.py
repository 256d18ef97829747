"""Every address is asked what a task of the release must answer; several at once, for a silent one takes its time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..domain import probes
from ..domain.probes import Proof, Question, Verdict
from ..ports import Tasks, Unanswered

AT_ONCE = 8


@dataclass(frozen=True)
class Probing:
    tasks: Tasks

    def ask(self, question: Question, addresses: Sequence[str]) -> list[tuple[str, Proof]]:
        """What each task proved, in the order given."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(zip(addresses, pool.map(lambda address: self._ask(question, address), addresses), strict=True))

    def _ask(self, question: Question, address: str) -> Proof:
        """The first fault counts: a task of another release, or one that is not ready, need not answer the rest."""
        try:
            fault = probes.of_version(question, self.tasks.get(address, "/version"))
            fault = fault or probes.of_readiness(question, self.tasks.get(address, "/ready"))
            if fault:
                return fault
            if not question.rows:
                return Proof(Verdict.AGREES, "it names its release and says how ready it is")
            texts = [row.text for row in question.rows]
            return probes.of_answers(question, self.tasks.post(address, "/predict", {"texts": texts}))
        except Unanswered as why:
            return Proof(Verdict.NO_ANSWER, str(why))
