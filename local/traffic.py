"""One request over HTTP, and many at a steady rate: what failed, what it took, which release answered."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    ms: float


def exchange(
    connection: http.client.HTTPConnection, host: str, method: str, path: str, body: Mapping[str, Any] | None,
    clock: Callable[[], float],
) -> Answer:  # fmt: skip
    began = clock()
    given = None if body is None else json.dumps(body)
    connection.request(method, path, given, {"Host": host, "Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    ms = round((clock() - began) * 1000, 2)
    try:
        told = json.loads(text)
    except ValueError:
        told = {"text": text}
    return Answer(answer.status, told if isinstance(told, dict) else {"answer": told}, ms)


class Traffic:
    """Requests at a steady rate while it is open, some on kept connections and some on a fresh one each.

    Every answer that is not 200, and every connection that breaks, is a failed request.
    """

    def __init__(
        self, connect: Callable[[], http.client.HTTPConnection], host: str, texts: Sequence[str], *,
        rate: float = 50, kept: int = 4, fresh: int = 2, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._connect, self._host, self._clock, self._texts = connect, host, clock, itertools.cycle(texts)
        self._every = (kept + fresh) / rate
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(number < kept,)) for number in range(kept + fresh)]
        self.by_release: Counter[str] = Counter()
        self.failures: list[str] = []
        self.took: list[float] = []

    @property
    def sent(self) -> int:
        return len(self.took) + len(self.failures)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def slowest(self, share: float) -> float:
        """The time in ms that this share of the answers did not exceed."""
        return sorted(self.took)[max(0, round(share * len(self.took)) - 1)] if self.took else 0.0

    def _send(self, keep: bool) -> None:
        connection = self._connect()
        for due in self._ticks():
            self._ended.wait(max(0.0, due - self._clock()))
            if self._ended.is_set():
                break
            try:
                with self._lock:
                    body = {"text": next(self._texts)}
                answer = exchange(connection, self._host, "POST", "/predict", body, self._clock)
                self._count(answer)
                if not keep:
                    connection.close()
            except (OSError, http.client.HTTPException) as fault:
                connection.close()
                with self._lock:
                    self.failures.append(f"{type(fault).__name__}: {fault}")
        connection.close()

    def _ticks(self) -> Iterator[float]:
        """When to send next. A late answer puts the others off; it is not made up for by a burst."""
        due = self._clock()
        while True:
            yield due
            due = max(due + self._every, self._clock())

    def _count(self, answer: Answer) -> None:
        with self._lock:
            if answer.status == 200:
                self.took.append(answer.ms)
                self.by_release[str(answer.body.get("release"))] += 1
            else:
                self.failures.append(f"HTTP {answer.status}: {answer.body}")
