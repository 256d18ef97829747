"""Which words pushed an answer, where the graph does not tell: leave a few out, ask again, and see what changes.

Works for any model. A push is in log-odds, as in `explain.py`: how much further the text leans toward the label than
it would without these words. Known limits: words that only count together are each shown as strong; and a long
text is left out a few words at a time, so that an explanation never costs more than a fixed amount of work.
"""

from __future__ import annotations

import re

import numpy as np

from inference.features import Token
from inference.model import Floats, Model

MOST = 64  # times that the model is asked, and
CHARACTERS = 24_000  # characters that it reads for that in all, about; but
FEWEST = 12  # times it may always be asked
NAMED = 60  # characters of a run of words that are told

# Scripts that are written without spaces, where one character counts as a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Words, and signs that say something: '!' or a smiley, but no comma.
_WORD = re.compile(rf"[^\W{_UNSPACED}]+(?:['’-][^\W{_UNSPACED}]+)*|[{_UNSPACED}]|[^\w\s.,;:'’\"“”()\[\]…/–—-]+")


def groups(text: str) -> list[Token]:
    """The text's words, neighbours together where there are too many to leave out one by one."""
    found = [match.span() for match in _WORD.finditer(text)]
    at_most = max(FEWEST, min(MOST, CHARACTERS // max(1, len(text))))
    size = -(-len(found) // at_most) or 1
    runs = [found[first : first + size] for first in range(0, len(found), size)]
    return [Token(_named(text[run[0][0] : run[-1][1]]), run[0][0], run[-1][1]) for run in runs]


def pushes(model: Model, text: str, runs: list[Token], probabilities: Floats) -> list[float]:
    """For each run of words, what it adds to the log-odds of the text's answer."""
    winner = int(probabilities.argmax())
    without = model.predict(model.decode([text[: run.start] + text[run.end :] for run in runs]))
    leanings: list[float] = (leaning(probabilities[None], winner) - leaning(without, winner)).tolist()
    return leanings


def leaning(probabilities: Floats, winner: int) -> Floats:
    """How far each row leans toward a class and away from the average of the others, in log-odds."""
    logs = np.log(np.clip(probabilities.astype(np.float64), 1e-9, 1))
    others = (logs.sum(axis=1) - logs[:, winner]) / (logs.shape[1] - 1)
    return np.asarray(logs[:, winner] - others, dtype=np.float32)


def _named(words: str) -> str:
    shown = " ".join(words.split())
    return shown if len(shown) <= NAMED else shown[: NAMED - 1] + "…"
