"""The run card as a page that stands alone; everything that people or programs wrote is escaped.

Links are relative, so that the page works in a copy of the bucket (aws s3 sync) too: it lies two folders deep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

UP = "../../"
CSS = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--dim:#777;--good:#1a7f37;--bad:#c0392b}
@media (prefers-color-scheme:dark){:root{--dim:#999;--good:#4ac26b;--bad:#ff7b72}}
body{font:1rem/1.55 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1.2rem}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
.state{font-weight:700;letter-spacing:.04em}.PROMOTED{color:var(--good)}.FAILED{color:var(--bad)}
.dim{color:var(--dim)}code{overflow-wrap:anywhere;font-size:.92em}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.8rem;margin:1.2rem 0}
.facts div{background:var(--soft);border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}
.facts b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{border-bottom:1px solid var(--line);padding:.35rem .7rem .35rem 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1rem}
figure{margin:0}figure img{width:100%;background:#fff;border:1px solid var(--line);border-radius:.4rem}
figcaption{color:var(--dim);font-size:.9rem}
"""


def page(card: Mapping[str, Any], manifest: Mapping[str, Any] | None) -> str:
    parts = [
        f'<p class="dim">Tidegate run card, dataset {escape(card["dataset"])}</p>',
        f'<h1><span class="state {escape(card["state"])}">{escape(card["state"])}</span> {escape(card["run_id"])}</h1>',
        f"<p>{escape(card['reason'])}</p>",
        f'<p class="dim">Queued {_time(card["created_at"])}, over {_time(card["ended_at"])}.</p>',
        _facts(card),
        _money(card),
        _attempts(card),
        _model(manifest) if manifest else "",
        _plots(card["links"]),
        _links(card["links"]),
    ]
    title = f"{escape(card['state'])} {escape(card['run_id'])}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{CSS}</style>\n" + "\n".join(part for part in parts if part) + "\n</html>\n"
    )


def _facts(card: Mapping[str, Any]) -> str:
    facts = [
        ("machine minutes", f"{card['minutes']:.1f}"),
        ("cost", _dollars(card["dollars"])),
        ("on demand", _dollars(card["on_demand_dollars"])),
        ("saved", _dollars(card["saved_dollars"])),
        ("machines", str(len(card["attempts"]))),
    ]
    if card["metrics"]:
        facts.append(("accuracy", _percent(card["metrics"]["accuracy"])))
    return '<div class="facts">' + "".join(f"<div><b>{value}</b>{name}</div>" for name, value in facts) + "</div>"


def _money(card: Mapping[str, Any]) -> str:
    told = card["estimate"]
    if told is None:
        return "<h2>Estimate</h2><p>There was nothing to reckon one from: the first run of a recipe measures it.</p>"
    rows = [
        ("minutes", f"{told['minutes']:.1f}", f"{card['minutes']:.1f}"),
        ("dollars", _dollars(told["dollars"]), _dollars(card["dollars"])),
    ]
    return (
        "<h2>Estimate and truth</h2>"
        + _table(("", "estimated before", "in truth"), rows, numbers={1, 2})
        + f'<p class="dim">How it was estimated: {escape(told["how"])}.</p>'
    )


def _attempts(card: Mapping[str, Any]) -> str:
    if not card["attempts"]:
        return "<h2>Machines</h2><p>None was started.</p>"
    rows = [
        (
            str(one["attempt"]),
            f"{one['type']} {one['lifecycle']}",
            one["zone"],
            one["machine"],
            f"{one['minutes']:.1f}",
            _dollars(one["dollars"]),
            _dollars(one["on_demand_dollars"]),
            one["ended"],
        )
        for one in card["attempts"]
    ]
    head = ("attempt", "machine", "zone", "id", "minutes", "cost", "on demand", "ended")
    return "<h2>Machines</h2>" + _table(head, rows, numbers={4, 5, 6})


def _model(manifest: Mapping[str, Any]) -> str:
    ours, compared = manifest["metrics"], manifest["comparison"]
    theirs = compared["metrics"] if compared else None
    names = (
        ("accuracy", "accuracy", _percent),
        ("macro F1", "macro_f1", _percent),
        ("log loss (nats)", "log_loss", _number),
        ("calibration error", "calibration_error", _number),
        ("commonest class", "majority_share", _percent),
    )
    rows = [(name, show(ours.get(key)), *([show(theirs.get(key))] if theirs else [])) for name, key, show in names]
    for label, recall in ours["per_class_recall"].items():
        before = theirs["per_class_recall"].get(label) if theirs else None
        rows.append((f'found of "{label}"', _percent(recall), *([_percent(before)] if theirs else [])))
    head = ("", "this model", *([f"champion {compared['champion']}"] if compared else []))
    told = f"<p>On {ours['rows']:,} test rows that no model was trained on.</p>"
    if compared:
        told += (
            f"<p>Both right on {compared['both_right']:,}, only this model on "
            f"{compared['only_challenger_right']:,}, only the champion on {compared['only_champion_right']:,}, "
            f"neither on {compared['both_wrong']:,}.</p>"
        )
    shift = manifest.get("data_shift")
    data = f"<h2>The data</h2><p>{_rows(manifest['rows'])} {escape(shift['sentence']) if shift else ''}</p>"
    recipe = f'<p class="dim">Recipe {escape(manifest["recipe"])}.</p>'
    return "<h2>The model</h2>" + told + _table(head, rows[:25], numbers={1, 2}) + recipe + data


def _rows(rows: Mapping[str, Any]) -> str:
    """A trainer of somebody else may not count all of them."""
    names = ("accepted", "rejected", "duplicates", "train", "validation", "test")
    return "Rows: " + ", ".join(f"{rows[name]:,} {name}" for name in names if name in rows) + "."


def _plots(links: Mapping[str, str]) -> str:
    plots = [(name.removeprefix("plot: "), key) for name, key in links.items() if name.startswith("plot: ")]
    figures = "".join(
        f'<figure><a href="{_href(key)}"><img src="{_href(key)}" alt="{escape(name)}" loading="lazy"></a>'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, key in plots
    )
    return f'<h2>Plots</h2><div class="plots">{figures}</div>' if plots else ""


def _links(links: Mapping[str, str]) -> str:
    others = [(name, key) for name, key in links.items() if not name.startswith("plot: ")]
    items = "".join(
        f'<li><a href="{_href(key)}">{escape(name)}</a> <code class="dim">{escape(key)}</code></li>'
        for name, key in others
    )
    return f"<h2>Files</h2><ul>{items}</ul>" if others else ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, numbers: set[int]) -> str:
    def cell(tag: str, at: int, text: str) -> str:
        return f"<{tag}{' class=n' if at in numbers else ''}>{escape(text)}</{tag}>"

    lines = ["".join(cell("th", at, text) for at, text in enumerate(head))]
    lines += ["".join(cell("td", at, text) for at, text in enumerate(row)) for row in rows]
    return '<div class="wide"><table>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def _href(key: str) -> str:
    """Relative, in the letters that a URL takes."""
    return UP + re.sub(r"[^A-Za-z0-9._~/-]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), key)


def _time(at: str) -> str:
    return escape(at[:19].replace("T", " ")) + " UTC"


def _dollars(amount: float | None) -> str:
    return "not told" if amount is None else f"${amount:.4f}"


def _percent(share: float | None) -> str:
    return "not told" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "not told" if value is None else f"{value:.3f}"
