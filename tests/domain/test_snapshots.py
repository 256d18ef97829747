"""A snapshot's digest is its identity; its run id is fit for an S3 prefix, a tag and a client token."""

from __future__ import annotations

import re
from itertools import permutations

import pytest
from controlplane.domain.drops import Drop
from controlplane.domain.snapshots import Snapshot, slug

A = Drop("raw/films/a.csv", "etag-a", 10, "v1")
B = Drop("raw/films/b.csv", "etag-b", 20, "v2")
C = Drop("raw/films/c.csv", "etag-c", 30, "v3")
ALL = [(drop.key, drop.etag) for drop in (A, B, C)]
RUN_ID = re.compile(r"^[a-z0-9][a-z0-9-]{0,47}$")


def test_its_digest_does_not_depend_on_any_order() -> None:
    digests = {
        Snapshot.of("films", drops, present).digest
        for drops in permutations((A, B, C))
        for present in permutations(ALL)
    }
    assert len(digests) == 1


def test_the_same_bytes_uploaded_again_are_the_same_snapshot() -> None:
    again = Drop(A.key, A.etag, A.size, "v9")
    before, after = Snapshot.of("films", [A, B], ALL), Snapshot.of("films", [A, B, again], ALL)
    assert before.digest == after.digest
    assert len(after.drops) == 2


def test_a_deleted_object_leaves_it() -> None:
    assert Snapshot.of("films", [A, B], [(B.key, B.etag)]).drops == (B,)


def test_a_replaced_object_counts_with_its_new_content_alone() -> None:
    new = Drop(A.key, "etag-new", 11, "v4")
    assert Snapshot.of("films", [A, new, B], [(A.key, "etag-new"), (B.key, B.etag)]).drops == (new, B)


def test_an_object_that_was_never_accepted_is_not_in_it() -> None:
    assert Snapshot.of("films", [A], [*ALL, ("raw/films/refused.csv", "e")]).drops == (A,)


def test_other_content_another_name_or_another_dataset_is_another_snapshot() -> None:
    same = Snapshot("films", (A,)).digest
    others = [
        Snapshot("films", (Drop(A.key, "other", 10),)),
        Snapshot("films", (Drop("raw/films/z.csv", A.etag, 10),)),
        Snapshot("films", (Drop(A.key, A.etag, 11),)),
        Snapshot("series", (A,)),
        Snapshot("films", (A, B)),
    ]
    assert len({same, *(other.digest for other in others)}) == 6


NAMES = [
    "default",
    "films",
    "Films",
    "films ",
    "a b",
    "a-b",
    "a+b",
    "a%b",
    "ñ",
    "日本",
    "-",
    "--a",
    "a" * 300,
    "a" * 26,
    "a" * 27,
    "x\ny",
    "'\"",
    "9",
    "Ünïcode film reviews of the year 2026",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_id_is_fit_for_its_places_whatever_the_dataset_is_called(name: str) -> None:
    assert RUN_ID.match(Snapshot(name, (A,)).run_id)
    assert len(slug(name)) <= 34


def test_no_two_datasets_share_a_slug() -> None:
    assert len({slug(name) for name in NAMES}) == len(NAMES)


def test_a_plain_name_stays_readable() -> None:
    assert slug("films-2026") == "films-2026"
    assert slug("Film Reviews").startswith("film-reviews-")


def test_a_name_that_imitates_a_slug_gets_another_run_id() -> None:
    assert Snapshot("a b", (A,)).run_id != Snapshot(slug("a b"), (A,)).run_id
