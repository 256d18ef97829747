"""Metrics as log lines: CloudWatch's embedded metric format, one line on stdout per interval, and never a text.

The cost is bounded whatever the traffic: counts are exact, latency and confidence are a fair sample of at most 100
values (the format's limit per line), and classes beyond the 20 commonest are one. Lines go to the namespace
Tidegate/Serving under the dimension Service; Predictions has one more line a class, with the dimension Label.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

NAMESPACE = "Tidegate/Serving"
SAMPLE = 100
CLASSES = 20
OTHERS = "(others)"
LONGEST = 200


class Sample:
    """At most SAMPLE values, each of those seen with the same chance (reservoir sampling)."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.seen = 0
        self.values: list[float] = []

    def add(self, value: float) -> None:
        self.seen += 1
        if len(self.values) < SAMPLE:
            self.values.append(value)
        elif (place := self.rng.randrange(self.seen)) < SAMPLE:
            self.values[place] = value


class Metrics:
    """Counts what was answered, and writes it when told to. Belongs to one thread."""

    def __init__(
        self,
        write: Callable[[str], object],
        now: Callable[[], float],
        rng: random.Random,
        service: str,
        properties: dict[str, str | None],
    ) -> None:
        self.write = write
        self.now = now
        self.rng = rng
        self.service = service
        self.properties = properties
        self._begin()

    def _begin(self) -> None:
        self.requests = self.refused = self.errors = 0
        self.latency = Sample(self.rng)
        self.confidence = Sample(self.rng)
        self.labels: Counter[str] = Counter()

    def ended(self, status: int) -> None:
        """A request for an answer ended with this status."""
        self.requests += 1
        self.refused += 400 <= status < 500
        self.errors += status >= 500

    def answered(self, ms: float, answers: list[dict[str, Any]]) -> None:
        self.latency.add(ms)
        for answer in answers:
            self.confidence.add(answer["probability"])
            self.labels[answer["label"]] += 1

    def flush(self) -> None:
        """Write what came since the last time; nothing came, nothing is written."""
        if not self.requests:
            return
        classes = self._classes()
        total = sum(classes.values())
        values: dict[str, Any] = {"Requests": self.requests, "Refused": self.refused, "Errors": self.errors}
        if self.latency.values:
            values |= {"Latency": self.latency.values, "Confidence": self.confidence.values}
        share = {label: round(count / total, 4) for label, count in classes.items()}
        self._line(["Service"], values, {**self.properties, "class_share": share})
        for label, count in classes.items():
            self._line(["Service", "Label"], {"Predictions": count}, {"Label": label})
        self._begin()

    def _classes(self) -> dict[str, int]:
        ranked = self.labels.most_common()
        classes: Counter[str] = Counter()
        for place, (label, count) in enumerate(ranked):
            classes[dimension(label) if place < CLASSES else OTHERS] += count
        return dict(classes)

    def _line(self, dimensions: list[str], values: dict[str, Any], properties: dict[str, Any]) -> None:
        units = {"Latency": "Milliseconds", "Confidence": "None"}
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [dimensions],
            "Metrics": [{"Name": name, "Unit": units.get(name, "Count")} for name in values],
        }
        head = {"Timestamp": int(self.now() * 1000), "CloudWatchMetrics": [directive]}
        self.write(json.dumps({"_aws": head, "Service": self.service, **properties, **values}))


def dimension(label: str) -> str:
    """A label as CloudWatch takes a dimension's value: plain characters, not empty, not too long."""
    plain = label.encode("ascii", "backslashreplace").decode("ascii")
    printable = "".join(character if character.isprintable() else " " for character in plain).strip()
    return printable[:LONGEST] or "(blank)"
