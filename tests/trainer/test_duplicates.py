"""Duplicates, contradictions and lonely classes, through a whole attempt."""

from __future__ import annotations

import io

import pyarrow.parquet as pq

from tests.trainer.bench import Bench, as_csv, reviews
from trainer.split import normalised


def test_duplicates_are_accepted_once_trained_and_never_straddle(bench: Bench) -> None:
    rows = reviews(200)
    again = [(f"<b>{text.upper()}</b> ", label) for text, label in rows]
    bench.ask("twice", bench.drop("raw/a.csv", as_csv(rows)), bench.drop("raw/b.csv", as_csv(again, "Review,Class")))
    assert bench.run("twice") == 0
    counted = bench.manifest("twice")["rows"]
    assert (counted["accepted"], counted["duplicates"], counted["rejected"]) == (400, 200, 0)
    assert counted["train"] + counted["validation"] + counted["test"] == 200
    parts = []
    for part in ("train", "validation", "test"):
        table = pq.read_table(io.BytesIO(bench.store.get(f"processed/twice/{part}.parquet")))
        parts.append({normalised(text) for text in table["text"].to_pylist()})
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_the_same_text_with_another_label_is_refused(bench: Bench) -> None:
    rows = reviews(200)
    text, label = rows[0]
    bench.ask("both", bench.drop("raw/a.csv", as_csv([*rows, (text, {"pos": "neg", "neg": "pos"}[label])])))
    assert bench.run("both") == 0
    assert bench.manifest("both")["rows"]["rejected"] == 1
    assert 'raw/a.csv,202,"same text, other label"' in bench.store.get("processed/both/rejected.csv").decode()


def test_a_class_with_one_row_is_left_out_and_its_row_refused(bench: Bench) -> None:
    bench.ask("lonely", bench.drop("raw/a.csv", as_csv([*reviews(200), ("a film on its own", "meh")])))
    assert bench.run("lonely") == 0
    manifest = bench.manifest("lonely")
    assert manifest["labels"] == ["neg", "pos"]
    assert (manifest["rows"]["accepted"], manifest["rows"]["rejected"]) == (200, 1)
    assert "only row of its class" in bench.store.get("processed/lonely/rejected.csv").decode()


def test_a_dataset_too_small_for_the_split_by_text_says_so_on_its_card(bench: Bench) -> None:
    uneven = [(text, "pos") for text, _ in reviews(40)] + [("the film was dull", "neg"), ("the plot was dull", "neg")]
    bench.ask("uneven", bench.drop("raw/a.csv", as_csv(uneven)))
    assert bench.run("uneven") == 0
    assert bench.json("models/uneven/metrics.json")["split_by"] == "class"
    assert "Split class by class" in bench.store.get("models/uneven/model-card.md").decode()
    assert "Split by a hash" not in bench.store.get("models/uneven/model-card.md").decode()


def test_ten_classes_of_two_rows_each_can_be_trained(bench: Bench) -> None:
    rows = [(f"film {number} is of kind{number % 10}", f"kind{number % 10}") for number in range(20)]
    bench.ask("tiny", bench.drop("raw/a.csv", as_csv(rows)))
    assert bench.run("tiny") == 0
    counted = bench.manifest("tiny")["rows"]
    assert (counted["train"], counted["validation"], counted["test"]) == (10, 5, 5)
