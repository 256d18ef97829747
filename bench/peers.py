"""One model, made from a CSV and asked, in a process of its own: `python -m bench.peers NAME FOLDER`.

FOLDER holds train.csv and test.csv; result.json comes out of it. The peers' settings are those of their papers or
documents, and were not tuned on any of the rows here.
"""

from __future__ import annotations

import os

# As in the trainer's own entry: threads that wait must sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import csv
import json
import pickle
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ASKED_ALONE = 300  # texts that are asked one at a time, for the time of one
SEED = 17
WORDS = r"\w+|[^\w\s]"  # punctuation counts, as in the script of Wang and Manning

Scores = npt.NDArray[np.float64]
Ask = Callable[
    [list[str]], tuple[list[str], Scores | None]
]  # answers, and each label's probability where there are any


def main(name: str, folder: Path) -> None:
    began = time.monotonic()
    files = folder / "model"
    files.mkdir()
    labels, ask = PEERS[name](folder / "train.csv", files)
    train_s = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    texts, truth = columns(folder / "test.csv")
    began = time.monotonic()
    answers, scores = ask(texts)
    rows_per_s = len(texts) / (time.monotonic() - began)
    alone = []
    for text in texts[:ASKED_ALONE]:
        began = time.perf_counter()
        ask([text])
        alone.append(time.perf_counter() - began)
    found = {
        **quality(truth, answers, labels, scores),
        "train_s": round(train_s, 2),
        "peak_mb": round(peak / 1e6),
        "model_mb": round(sum(path.stat().st_size for path in files.iterdir() if path.is_file()) / 1e6, 1),
        "rows_per_s": round(rows_per_s),
        "p50_ms": round(float(np.median(alone)) * 1e3, 3),
    }
    (folder / "result.json").write_text(json.dumps(found))


def columns(path: Path) -> tuple[list[str], list[str]]:
    csv.field_size_limit(1 << 24)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [text for text, _ in rows], [label for _, label in rows]


def quality(truth: list[str], answers: list[str], labels: list[str], scores: Scores | None) -> dict[str, float | None]:
    from sklearn.metrics import f1_score

    log_loss = None
    if scores is not None:
        place = {label: number for number, label in enumerate(labels)}
        given = [row[place[label]] if label in place else 0.0 for row, label in zip(scores, truth, strict=True)]
        log_loss = round(float(-np.log(np.clip(given, 1e-15, 1)).mean()), 4)
    right = np.mean([answer == label for answer, label in zip(answers, truth, strict=True)])
    macro = f1_score(truth, answers, average="macro", labels=sorted(set(truth)), zero_division=0)
    return {"accuracy": round(float(right), 4), "macro_f1": round(float(macro), 4), "log_loss": log_loss}


def ours(train: Path, files: Path) -> tuple[list[str], Ask]:
    """The whole attempt: reading and checking rows, the fit, evaluation on the test rows, plots, the manifest."""
    from trainer.alone import main as train_alone  # first: it sets what torch must see before it is loaded
    from trainer.model_files import Model

    if code := train_alone([str(train), str(files), "--test", str(train.with_name("test.csv"))]):
        sys.exit(f"the trainer ended with {code}")
    model = Model(files)

    def ask(texts: list[str]) -> tuple[list[str], Scores]:
        scores = np.array(list(model.answer(texts)), np.float64)
        return [model.labels[each] for each in scores.argmax(1)], scores

    return model.labels, ask


def tfidf_logistic(train: Path, files: Path) -> tuple[list[str], Ask]:
    """What most people begin with: scikit-learn's TF-IDF of one and two words, logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, labels = columns(train)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1_000))
    model.fit(texts, labels)
    (files / "model.pickle").write_bytes(pickle.dumps(model))
    return list(model.classes_), lambda asked: (list(model.predict(asked)), model.predict_proba(asked))


def nb_svm(train: Path, files: Path) -> tuple[list[str], Ask]:
    """Wang and Manning, ACL 2012: a linear SVM over binary one and two words, scaled by their log-count ratio."""
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.svm import LinearSVC

    texts, truth = columns(train)
    counter = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=WORDS, dtype=np.float32)
    counts, classes = sparse.csr_matrix(counter.fit_transform(texts)), np.array(truth)
    labels = sorted(set(truth))
    models = []
    for label in labels[1:] if len(labels) == 2 else labels:
        mine = classes == label
        inside, outside = counts[mine].sum(0).A1 + 1, counts[~mine].sum(0).A1 + 1
        ratio = (np.log(inside / inside.sum()) - np.log(outside / outside.sum())).astype(np.float32)
        svm = LinearSVC(C=0.01).fit(counts @ sparse.diags(ratio), mine)
        models.append((svm.coef_[0] * ratio, svm.intercept_[0]))
    weights, bias = np.array([each for each, _ in models]).T, np.array([each for _, each in models])
    (files / "model.pickle").write_bytes(pickle.dumps((counter, weights, bias)))

    def ask(asked: list[str]) -> tuple[list[str], None]:
        scores = counter.transform(asked) @ weights + bias
        best = (scores[:, 0] > 0).astype(int) if len(labels) == 2 else scores.argmax(1)
        return [labels[each] for each in best], None

    return labels, ask


def fast_text(train: Path, files: Path) -> tuple[list[str], Ask]:
    """fastText with pairs of words, ten numbers a word as in its paper; rows in the order of the file, as it reads."""
    import fasttext

    texts, truth = columns(train)
    labels = sorted(set(truth))
    place = {label: number for number, label in enumerate(labels)}
    rows = files.parent / "fasttext.txt"
    with rows.open("w", encoding="utf-8") as file:
        file.writelines(f"__label__{place[label]} {_line(text)}\n" for text, label in zip(texts, truth, strict=True))
    model = fasttext.train_supervised(str(rows), wordNgrams=2, dim=10, epoch=10, lr=0.25, thread=2, verbose=0)
    model.save_model(str(files / "model.bin"))

    def ask(asked: list[str]) -> tuple[list[str], Scores]:
        scores = np.zeros((len(asked), len(labels)))
        for row, (names, chances) in enumerate(_each(model, asked, len(labels))):
            for name, chance in zip(names, chances, strict=True):
                scores[row, int(name.removeprefix("__label__"))] = chance
        return [labels[each] for each in scores.argmax(1)], scores

    return labels, ask


def _each(model: Any, asked: list[str], classes: int) -> Iterator[tuple[Sequence[str], Sequence[float]]]:
    for text in asked:
        names, chances = model.predict(_line(text), k=classes)
        yield names, chances


def _line(text: str) -> str:
    return " ".join(re.findall(WORDS, text.lower()))


PEERS: dict[str, Callable[[Path, Path], tuple[list[str], Ask]]] = {
    "tidegate": ours,
    "tfidf+logistic": tfidf_logistic,
    "nb-svm": nb_svm,
    "fasttext": fast_text,
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
