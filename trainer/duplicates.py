"""Which rows have a text that came before: all rows of all files, on disk, in bounded memory.

The fingerprints are written to 64 files by their first bits, so equal texts lie in one file, and a file is small enough
to be sorted in memory: with 100 million rows it takes 40 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.split import MARK, Marks, in_order, marks_of

_BITS = 6
_ENTRY = np.dtype([("mark", MARK), ("row", "<i8")])
DUPLICATE, OTHER_LABEL = -1, -2


class Fingerprints:
    """The fingerprints of the rows 0, 1, 2 ... in the order in which they are added."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"fingerprints-{shelf:02}" for shelf in range(2**_BITS)]
        self._files = [path.open("wb") for path in self._paths]
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, fingerprints: list[bytes]) -> None:
        marks = marks_of(fingerprints)
        shelf = (marks["high"] >> (64 - _BITS)).astype(np.uint8)
        order = np.argsort(shelf, kind="stable")
        entries = np.empty(len(marks), dtype=_ENTRY)
        entries["mark"] = marks[order]
        entries["row"] = self._rows + order
        ends = np.searchsorted(shelf[order], np.arange(1, 2**_BITS))
        for file, piece in zip(self._files, np.split(entries, ends), strict=True):
            file.write(piece.tobytes())
        self._rows += len(marks)

    def shelves(self) -> Iterator[tuple[npt.NDArray[np.int64], Marks]]:
        """File by file: the numbers of its rows, ascending, and their fingerprints."""
        for file, path in zip(self._files, self._paths, strict=True):
            file.flush()
            entries = np.fromfile(path, dtype=_ENTRY)
            yield entries["row"].astype(np.int64), entries["mark"]

    def of_rows(self, wanted: npt.NDArray[np.bool_]) -> Marks:
        """The fingerprints of the rows that are wanted, in the order of the rows."""
        place = np.cumsum(wanted) - 1
        marks = np.empty(int(wanted.sum()), dtype=MARK)
        for rows, found in self.shelves():
            here = wanted[rows]
            marks[place[rows[here]]] = found[here]
        return marks

    def remove(self) -> None:
        for file, path in zip(self._files, self._paths, strict=True):
            file.close()
            path.unlink(missing_ok=True)


def sides(
    rows: npt.NDArray[np.int64], marks: Marks, labels: npt.NDArray[np.int32], parts: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    """For each row of one shelf: its part when it is the first with its text, else DUPLICATE or OTHER_LABEL."""
    found = parts.copy()
    order = in_order(marks)
    ordered = marks[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    first = order[new][np.cumsum(new) - 1]
    again = order[~new]
    same_label = labels[rows[again]] == labels[rows[first[~new]]]
    found[again] = np.where(same_label, DUPLICATE, OTHER_LABEL)
    return found
