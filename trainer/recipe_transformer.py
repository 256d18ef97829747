"""The recipe `transformer`: a Hugging Face encoder, fine-tuned with a linear head on top.

The text's tokens go through the encoder, their mean (or the first one) through dropout and a linear layer. AdamW, with
a linear warm-up and decay; after every epoch the validation rows are read, and the best weights by their loss are kept,
with the temperature that makes their probabilities honest. Rows of similar length are read together.

Known downside: far dearer than `linear`; on a few thousand rows, and on topics rather than tone, it is seldom better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer import export_tokens
from trainer.dataset import Dataset
from trainer.encoder_files import EncoderFiles, bring
from trainer.errors import Failed
from trainer.features import STRIP_PATTERN
from trainer.recipe import Work
from trainer.split import TRAIN, VALIDATION
from trainer.transformer_fit import Fit
from trainer.transformer_knobs import Knobs
from trainer.transformer_rows import Rows, Task, chunks

TOGETHER = True  # where torch.distributed runs, all its processes take each step


def prepare(dataset: Dataset, knobs: Knobs, seed: int, work: Work) -> Task:
    """Bring the encoder, and read all texts as its tokens."""
    files = bring(work.store, knobs.encoder, work.folder / "encoder")
    if knobs.max_tokens > files.longest:
        raise Failed(f"The encoder reads at most {files.longest} tokens: set the knob 'max_tokens' to that or less.")
    rows = dataset.rows_by_part()
    work.journal.phase("training", "rows", rows["train"] + rows["validation"])
    watched = work.watched(rows["train"] + rows["validation"], "nothing to save yet, the texts are read again")
    train, validation = (
        _tokenized(watched(dataset.texts(part)), dataset.classes(part), files, knobs, work.folder / f"{part}.ids")
        for part in (TRAIN, VALIDATION)
    )
    work.journal.say(
        f"tokens: {int(train.lengths.sum()):,} in {len(train):,} training texts, "
        f"{(train.lengths == knobs.max_tokens).mean():.1%} of them cut at {knobs.max_tokens}"
    )
    return Task(files, len(dataset.labels), seed, train, validation)


def _tokenized(
    texts: Iterable[str], classes: npt.NDArray[np.int64], files: EncoderFiles, knobs: Knobs, path: Path
) -> Rows:
    tokenizer, strip = export_tokens.cutting(files.tokenizer(), knobs.max_tokens), re.compile(STRIP_PATTERN)
    lengths: list[int] = []
    with path.open("wb") as file:
        for some in chunks(texts, 500):
            for read in tokenizer.encode_batch_fast([strip.sub(" ", text) for text in some]):
                ids = read.ids or [files.padding]
                lengths.append(len(ids))
                file.write(np.array(ids, dtype=np.int32).tobytes())
    return Rows(path, lengths, classes)


def new_fit(task: Task, knobs: Knobs) -> Fit:
    return Fit(task, knobs)


def write_model(folder: Path, task: Task, fit: Fit, dataset: Dataset) -> None:
    knobs = fit.knobs
    some = [task.validation.ids(row) for row in fit.asked[:: max(1, len(fit.asked) // 16)]]
    export_tokens.write_model(folder, fit.best_model(), task.files, dataset.labels, knobs.max_tokens, some)


def fingerprint(task: Task) -> str:
    """Which encoder it is. Not on what it runs: it may go on on another GPU, though that rounds differently."""
    return task.files.digest


def words(task: Task, fit: Fit) -> None:  # noqa: ARG001
    """It does not know words: /explain finds them out for a text."""
    return


def profile_features(task: Task) -> tuple[None, None, list[dict[str, Any]]]:  # noqa: ARG001
    return None, None, []
