"""Which rows were refused and why, for people: rejected.csv has every row, rejected.json and rejected.html the gist."""

from __future__ import annotations

import csv
import html
from collections import Counter
from pathlib import Path
from typing import Any

from trainer.errors import Failed
from trainer.rows import Rejected

SAMPLES = 5
SAMPLE = 200


class Refusals:
    """Writes rejected.csv row by row, and keeps the counts and a few samples of each reason."""

    def __init__(self, path: Path) -> None:
        self.reasons: Counter[str] = Counter()
        self.by_object: Counter[str] = Counter()
        self._samples: dict[str, list[dict[str, Any]]] = {}
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(["object", "row", "reason", "sample"])

    def add(self, key: str, row: Rejected) -> None:
        self.reasons[row.reason] += 1
        self.by_object[key] += 1
        self._csv.writerow([key, row.number, row.reason, row.sample])
        samples = self._samples.setdefault(row.reason, [])
        if len(samples) < SAMPLES:
            samples.append({"object": key, "row": row.number, "sample": row.sample[:SAMPLE]})

    def close(self) -> None:
        self._file.close()

    def report(
        self, run_id: str, dataset: str, accepted: dict[str, int], failed: Failed | None, at: str
    ) -> dict[str, Any]:
        """`accepted`: rows of each object. `failed`: why nothing was trained on, or None."""
        rejected = self.reasons.total()
        return {
            "contract": 1,
            "run_id": run_id,
            "dataset": dataset,
            "rows": sum(accepted.values()) + rejected,
            "accepted": sum(accepted.values()),
            "rejected": rejected,
            "reasons": [
                {"reason": reason, "rows": rows, "samples": self._samples[reason]}
                for reason, rows in self.reasons.most_common()
            ],
            "files": [
                {"object": key, "accepted": rows, "rejected": self.by_object[key]} for key, rows in accepted.items()
            ],
            "what_to_do": _what_to_do(rejected, failed),
            "at": at,
        }


def _what_to_do(rejected: int, failed: Failed | None) -> str:
    if failed is not None:
        return f"The run failed: {failed} Mend the file and drop it again."
    if rejected:
        return "Mend these rows and drop the file again; all others were accepted."
    return "Nothing: every row was accepted."


def page(report: dict[str, Any]) -> str:
    """The report as a page that stands alone; everything that people wrote is escaped."""
    share = report["rejected"] / max(report["rows"], 1)
    reasons = "".join(_section(each, report["rejected"]) for each in report["reasons"])
    every = " Every refused row is in <code>rejected.csv</code> beside this page." if report["rejected"] else ""
    files = "".join(
        f"<tr><td>{_text(each['object'])}</td><td class=n>{each['accepted']:,}</td>"
        f"<td class=n>{each['rejected']:,}</td></tr>"
        for each in report["files"]
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Refused rows of {_text(report["run_id"])}</title>
<style>
:root{{color-scheme:light dark}}
body{{font:1rem/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}}
h1{{font-size:1.6rem;margin-bottom:.2rem}} h2{{font-size:1.15rem;margin:1.6rem 0 .4rem}}
small{{font-weight:normal;opacity:.75}}
table{{border-collapse:collapse;width:100%;table-layout:fixed}}
th:first-child{{width:30%}} th.n{{width:6rem}}
td,th{{border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent);padding:.35rem .9rem .35rem 0;
text-align:left;vertical-align:top;overflow-wrap:anywhere}}
th{{font-weight:600;opacity:.75}} .n{{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}}
code{{white-space:pre-wrap}}
.bar{{height:.6rem;border-radius:.3rem;background:#2a7f5f;overflow:hidden;margin:.8rem 0}}
.bar i{{display:block;height:100%;background:#d1495b;width:{100 * share:.2f}%}}
.do{{border-left:.3rem solid #2a7f5f;padding:.3rem .9rem;margin:1.2rem 0}}
</style>
<h1>{report["rejected"]:,} of {report["rows"]:,} rows were refused</h1>
<p>{share:.2%} of run <code>{_text(report["run_id"])}</code>, dataset {_text(report["dataset"])};
{report["accepted"]:,} were accepted. Looked at {_text(report["at"])}.</p>
<div class="bar"><i></i></div>
<p class="do"><strong>What to do.</strong> {_text(report["what_to_do"])}{every}</p>
{reasons}
<section><h2>Files</h2><table><tr><th>File</th><th class=n>Accepted</th><th class=n>Refused</th></tr>{files}</table>
</section></html>
"""


def _section(told: dict[str, Any], rejected: int) -> str:
    samples = "".join(
        f"<tr><td>{_text(each['object'])}</td><td class=n>{each['row']:,}</td>"
        f"<td><code>{_text(each['sample'])}</code></td></tr>"
        for each in told["samples"]
    )
    rows = f"{told['rows']:,} row{'s' if told['rows'] > 1 else ''}, {told['rows'] / rejected:.1%} of the refused"
    more = told["rows"] - len(told["samples"])
    return (
        f"<section><h2>{_text(told['reason'])} <small>{rows}</small></h2>"
        f"<table><tr><th>File</th><th class=n>Line</th><th>Sample</th></tr>{samples}</table>"
        f"{f'<p>and {more:,} more</p>' if more else ''}</section>"
    )


def _text(value: str) -> str:
    return html.escape(value)
