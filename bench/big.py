"""`python -m bench.big`: five million rows, 3 GB, through the real trainer: speed, memory, and whether it adds up.

The CSV is made up (reviews.py), with duplicates and every kind of row that must be refused, and it is known how many of
each. The trainer runs in a process of its own, on a folder instead of a bucket, so that the memory is its memory alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.reviews import REFUSED, Order, write

GIB = 1 << 30
LIMIT = 2 * GIB
RUN = "big"
KEY = "raw/big.csv"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.big", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--bad-share", type=float, default=0.001, help="of the rows are to be refused")
    parser.add_argument("--recipe", default="linear")
    parser.add_argument("--knobs", type=json.loads, default={}, help='as JSON: {"passes": 10}')
    parser.add_argument("--folder", type=Path, default=Path("build/big"), help="needs about 3 times the CSV's size")
    parser.add_argument("--json", type=Path, default=Path("build/bench-big.json"))
    given = parser.parse_args()

    given.folder.mkdir(parents=True, exist_ok=True)
    order = Order(given.rows, int(given.gigabytes * 1e9), given.bad_share)
    table = given.folder / f"{order.rows}-{order.bytes}.csv"
    began = time.monotonic()
    kinds = write(order, table)
    print(f"{table}: {order.rows:,} rows, {table.stat().st_size / 1e9:.2f} GB, in {time.monotonic() - began:.0f} s")

    home = given.folder / f"run-{os.getpid()}"
    _ask(home, table, given.recipe, given.knobs)
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", "bench.big_child", str(home), str(table)])
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    found = {
        "rows": order.rows,
        "bytes": table.stat().st_size,
        "exit_code": os.waitstatus_to_exitcode(status),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_bytes": used.ru_maxrss * 1024,
        "phases": _phases(home, order.rows),
        **_counts(home),
    }
    found["wrong"] = _wrong(found, order.rows, kinds)
    _print(found)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if found["wrong"] else 0


def _ask(home: Path, table: Path, recipe: str, knobs: dict[str, Any]) -> None:
    found = table.stat()
    spec = {
        "contract": 1,
        "run_id": RUN,
        "dataset": "default",
        "snapshot": {
            "digest": "sha256:" + "0" * 64,
            "objects": [{"key": KEY, "version_id": None, "etag": str(found.st_mtime_ns), "bytes": found.st_size}],
        },
        "columns": {"text": None, "label": None},
        "champion": None,
        "baseline": None,
        "recipe": recipe,
        "knobs": knobs,
        "seed": 17,
        "limits": {"max_rejected_share": 0.05, "max_data_shift": 1, "max_hours": 24, "max_cost": None, "prices": {}},
    }
    path = home / "runs" / RUN / "spec.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(spec))


def _phases(home: Path, rows: int) -> list[dict[str, Any]]:
    """What progress.json said at the end of each phase, how long that took, and the most memory that was held."""
    told = [json.loads(line) for line in (home / "progress.jsonl").read_text().splitlines()]
    phases = []
    for (phase, unit, total), group in groupby(told, key=lambda each: (each["phase"], each["unit"], each["total"])):
        steps = list(group)
        after = told.index(steps[-1]) + 1
        end = told[after]["seconds"] if after < len(told) else steps[-1]["seconds"]
        took = end - steps[0]["seconds"]
        done = total or (rows if unit == "rows" else steps[-1]["done"])
        phases.append(
            {
                "phase": phase,
                "unit": unit,
                "done": done,
                "seconds": round(took, 1),
                "rate": round(done / took, 1) if took else None,
                "resident_bytes": max(each["resident_bytes"] for each in steps),
            }
        )
    return phases


def _counts(home: Path) -> dict[str, Any]:
    report = home / "processed" / RUN / "rejected.json"
    manifest = home / "models" / RUN / "manifest.json"
    if not report.exists() or not manifest.exists():
        return {"accepted": 0, "rejected": 0, "duplicates": 0, "reasons": {}, "rejected_csv": 0, "accuracy": None}
    told, model = json.loads(report.read_text()), json.loads(manifest.read_text())
    with report.with_name("rejected.csv").open(encoding="utf-8", newline="") as file:
        listed = sum(1 for _ in csv.reader(file)) - 1
    return {
        "accepted": model["rows"]["accepted"],
        "rejected": model["rows"]["rejected"],
        "duplicates": model["rows"]["duplicates"],
        "reasons": {each["reason"]: each["rows"] for each in told["reasons"]},
        "rejected_csv": listed,
        "accuracy": model["metrics"]["accuracy"],
    }


def _wrong(found: dict[str, Any], rows: int, kinds: dict[str, int]) -> list[str]:
    """What does not add up, in sentences."""
    wrong = []
    if found["exit_code"]:
        wrong.append(f"The trainer ended with {found['exit_code']}.")
    if found["accepted"] + found["rejected"] != rows:
        wrong.append(f"{found['accepted']:,} accepted and {found['rejected']:,} refused rows are not {rows:,}.")
    if found["rejected_csv"] != found["rejected"]:
        wrong.append(f"rejected.csv has {found['rejected_csv']:,} rows, not {found['rejected']:,}.")
    expected = {reason: kinds[reason] for reason in REFUSED if kinds.get(reason)}
    if found["reasons"] != expected:
        wrong.append(f"Refused were {found['reasons']}; made were {expected}.")
    if found["duplicates"] != kinds.get("duplicate", 0):
        wrong.append(f"{found['duplicates']:,} duplicates were found; {kinds.get('duplicate', 0):,} were made.")
    if found["peak_bytes"] >= LIMIT:
        wrong.append(f"The trainer held {found['peak_bytes'] / GIB:.2f} GiB; the limit is {LIMIT / GIB:g} GiB.")
    return wrong


def _print(found: dict[str, Any]) -> None:
    print(f"{'phase':28}{'done':>14}{'seconds':>10}{'a second':>12}{'MiB held':>10}")
    for each in found["phases"]:
        name = f"{each['phase']}, {each['unit']}"
        rate = "" if each["rate"] is None else f"{each['rate']:,.0f}"
        print(f"{name:28}{each['done']:>14,}{each['seconds']:>10,.1f}{rate:>12}{each['resident_bytes'] >> 20:>10,}")
    print(
        f"{found['rows']:,} rows in {found['seconds']:,.0f} s ({found['cpu_seconds']:,.0f} s of CPU), "
        f"at most {found['peak_bytes'] / GIB:.2f} GiB; accuracy {found['accuracy']}"
    )
    print(f"accepted {found['accepted']:,} (duplicates {found['duplicates']:,}), refused {found['rejected']:,}:")
    for reason, rows in found["reasons"].items():
        print(f"  {rows:>8,}  {reason}")
    print("\n".join(found["wrong"]) or "Everything adds up.")


if __name__ == "__main__":
    sys.exit(main())
