"""Metric lines are CloudWatch's embedded metric format, exact in counts and bounded in size."""

from __future__ import annotations

import json
import random
from typing import Any

from inference.emf import CLASSES, OTHERS, SAMPLE, Metrics, dimension


def metrics() -> tuple[Metrics, list[str]]:
    lines: list[str] = []
    return Metrics(lines.append, lambda: 1_700_000_000.5, random.Random(3), "inference", {"release": "7"}), lines


def answer(label: str, probability: float = 0.9) -> dict[str, Any]:
    return {"label": label, "probability": probability}


def test_nothing_happened_nothing_is_written() -> None:
    counted, lines = metrics()
    counted.flush()
    assert lines == []


def test_every_metric_named_stands_in_its_line_with_its_dimensions() -> None:
    counted, lines = metrics()
    counted.answered(1.25, [answer("positive"), answer("negative")])
    counted.ended(200)
    counted.ended(503)
    counted.flush()
    for line in map(json.loads, lines):
        assert line["_aws"]["Timestamp"] == 1_700_000_000_500
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Tidegate/Serving"
        assert all(isinstance(line[name], str) for name in directive["Dimensions"][0])
        assert all(metric["Name"] in line for metric in directive["Metrics"])
    first, *classes = map(json.loads, lines)
    assert (first["Requests"], first["Errors"], first["Latency"], first["release"]) == (2, 1, [1.25], "7")
    assert {line["Label"]: line["Predictions"] for line in classes} == {"positive": 1, "negative": 1}


def test_a_flush_begins_anew() -> None:
    counted, lines = metrics()
    counted.ended(200)
    counted.flush()
    counted.flush()
    assert len(lines) == 1


def test_refused_requests_alone_have_no_empty_lists() -> None:
    counted, lines = metrics()
    counted.ended(422)
    counted.flush()
    assert "Latency" not in json.loads(lines[0])


def test_a_flood_gives_a_fair_sample_and_exact_counts() -> None:
    counted, lines = metrics()
    for number in range(20_000):
        counted.answered(float(number), [answer("positive")])
        counted.ended(200)
    counted.flush()
    line = json.loads(lines[0])
    assert line["Requests"] == 20_000
    assert len(line["Latency"]) == len(line["Confidence"]) == SAMPLE
    assert 8_000 < sum(line["Latency"]) / SAMPLE < 12_000
    assert json.loads(lines[1])["Predictions"] == 20_000


def test_many_classes_are_bounded_and_none_is_lost() -> None:
    counted, lines = metrics()
    for number in range(1000):
        counted.answered(1.0, [answer(f"class {number}")] * (2 if number < CLASSES else 1))
        counted.ended(200)
    counted.flush()
    classes = {line["Label"]: line["Predictions"] for line in map(json.loads, lines[1:])}
    assert len(classes) == CLASSES + 1
    assert classes[OTHERS] == 1000 - CLASSES
    assert max(map(len, lines)) < 256_000


def test_any_label_becomes_a_dimension_that_cloudwatch_takes() -> None:
    assert dimension("pos") == "pos"
    assert dimension("großartig") == "gro\\xdfartig"
    assert dimension(" \n ") == "(blank)"
    assert dimension("x" * 5000) == "x" * 200
    assert dimension("a\nb") == "a b"
