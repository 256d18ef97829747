"""The report of refused rows: the same figures as a page, and nothing in it that a row could do to its reader."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from tests.trainer.bench import check
from trainer.errors import Failed
from trainer.report import Refusals, page
from trainer.rows import Rejected

AT = "2026-01-01T00:00:00Z"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.linked: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.linked += [name for name, _ in attrs if name in ("src", "href", "style") or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(body: str) -> Tags:
    tags = Tags()
    tags.feed(body)
    return tags


def test_a_page_says_how_many_why_and_what_to_do(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / "rejected.csv")
    for number in range(1_200):
        refusals.add("raw/a.csv", Rejected(number, "no label", f"a film {number},"))
    refusals.add("raw/b.csv", Rejected(7, "broken quotes", '"never closed'))
    refusals.close()
    told = refusals.report("run-1", "default", {"raw/a.csv": 98_799, "raw/b.csv": 0}, None, AT)
    check("rejected_report", told)
    assert [(each["reason"], each["rows"], len(each["samples"])) for each in told["reasons"]] == [
        ("no label", 1_200, 5),
        ("broken quotes", 1, 1),
    ]
    text = " ".join(read(page(told)).text.split())
    for part in ("1,201 of 100,000 rows were refused", "1.20% of run", "no label 1,200 rows, 99.9%", "and 1,195 more"):
        assert part in text
    assert "Mend these rows and drop the file again; all others were accepted." in text
    assert "raw/b.csv 0 1" in " ".join(read(page(told).replace("</td>", " </td>")).text.split())


def test_what_rows_and_names_hold_is_shown_and_never_run(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    refusals = Refusals(tmp_path / "rejected.csv")
    refusals.add(f"raw/{evil}.csv", Rejected(2, "no label", evil))
    refusals.close()
    plain = Refusals(tmp_path / "plain.csv")
    plain.add("raw/a.csv", Rejected(2, "no label", "a film"))
    plain.close()
    found = read(page(refusals.report("run-1", evil, {f"raw/{evil}.csv": 1}, Failed(evil), AT)))
    assert found.names == read(page(plain.report("run-1", "default", {"raw/a.csv": 1}, None, AT))).names
    assert found.linked == []
    assert found.text.count(evil) == 5


def test_a_run_without_a_refused_row_has_a_report_that_says_so(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / "rejected.csv")
    refusals.close()
    told = refusals.report("run-1", "default", {"raw/a.csv": 10}, None, AT)
    check("rejected_report", told)
    assert "0 of 10 rows were refused" in page(told)
