"""Every address is asked what a task of the release must answer; several at once, for a silent one takes its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..domain import probes
from ..domain.probes import Proof, Question, Reply, Verdict
from ..ports import Tasks, Unanswered

AT_ONCE = 8


@dataclass(frozen=True)
class Probing:
    tasks: Tasks
    seconds: Callable[[], float]  # a clock that only goes forward

    def ask(self, question: Question, addresses: Sequence[str], within: float) -> list[tuple[str, Proof]]:
        """What each task proved within so many seconds, in the order given."""
        until = self.seconds() + within
        with ThreadPoolExecutor(AT_ONCE) as pool:
            proofs = pool.map(lambda address: self._ask(question, address, until), addresses)
            return list(zip(addresses, proofs, strict=True))

    def _ask(self, question: Question, address: str, until: float) -> Proof:
        """The first fault counts: a task of another release, or one that is not ready, need not answer the rest."""
        try:
            fault = probes.of_version(question, self.tasks.get(address, "/version"))
            fault = fault or probes.of_readiness(question, self.tasks.get(address, "/ready"))
            if fault:
                return fault
            if not question.rows:
                return Proof(Verdict.AGREES, "it names its release and says how ready it is")
            return self._answers(question, address, until)
        except Unanswered as why:
            return Proof(Verdict.NO_ANSWER, str(why))

    def _answers(self, question: Question, address: str, until: float) -> Proof:
        """A few rows a request: a model may need a minute for all of them, and the task serves people meanwhile."""
        replies: list[Reply] = []
        for rows in probes.requests(question):
            left = until - self.seconds()
            if left <= 0:
                return probes.of_answers(question, *replies, silence="the time was over")
            try:
                reply = self.tasks.post(address, "/predict", {"texts": [row.text for row in rows]}, left)
            except Unanswered as why:
                return probes.of_answers(question, *replies, silence=str(why))
            replies.append(reply)
            if reply.status != 200:
                break
        return probes.of_answers(question, *replies)
