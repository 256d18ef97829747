"""One attempt, from the spec to the manifest, in the order in which it happens.

spec -> snapshot's rows, checked and split -> vocabulary and features -> fit, pass by pass, from the checkpoint if there
is one -> evaluation on the frozen test rows, the champion's answers beside ours -> files -> manifest.json, last.

Known downside: after an interruption rows and features are made again from the same object versions; only the fit
goes on from where it was. They take seconds, and a checkpoint stays small.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainer import VERSION, card, export, plots
from trainer.checkpoint import Checkpoints
from trainer.dataset import Dataset, gather, stop_if_told
from trainer.errors import Failed, Interrupted
from trainer.evaluate import Answers, ask, calibration, comparison, confusion, metrics
from trainer.features import STRIP_PATTERN, TOKEN_PATTERN, Encoded, Encoder, Featurizer, count, encoded, vocabulary
from trainer.journal import Journal
from trainer.machine import Watch
from trainer.model_files import Model, fetch
from trainer.recipe_linear import WEIGHTS_AT_MOST, Fit, Knobs
from trainer.settings import Settings
from trainer.spec import Spec, read_spec
from trainer.split import PARTS, TEST, TRAIN, VALIDATION
from trainer.store import S3Store

RECIPES = ("linear",)
GOLDEN_ROWS = 32
GOLDEN_TEXT = 5_000  # characters
CLEAR_MARGIN = 1e-3  # a golden row must not hang on a rounding error


def train(
    settings: Settings, store: S3Store, journal: Journal, watch: Watch, folder: Path, now: Callable[[], datetime]
) -> None:
    """Publish the run's model. Raises Failed or Interrupted with one sentence."""
    manifest_key = f"models/{settings.run_id}/manifest.json"
    if store.exists(manifest_key):
        journal.say(f"{manifest_key} is there already: nothing to do.")
        return
    spec = read_spec(store, settings.run_id)
    if spec.recipe not in RECIPES:
        raise Failed(f"Unknown recipe {spec.recipe!r}; this trainer knows {', '.join(RECIPES)}.")
    knobs = Knobs.of(spec.knobs)
    watch.limit(spec.max_hours)
    make_repeatable(spec.seed, knobs.threads)

    journal.phase("reading", "rows")
    dataset = gather(store, spec, folder, journal, watch)
    shown = ", ".join(f"{rows:,} {part}" for part, rows in dataset.rows_by_part().items())
    journal.say(
        f"read: {dataset.accepted:,} rows accepted, {dataset.rejected:,} refused, {dataset.duplicates:,} duplicates; "
        f"{shown} (split by {dataset.split_by})"
    )
    task = featurize(dataset, knobs, spec.seed, journal, watch)
    journal.say(
        f"features: {len(task.features):,} n-grams, {len(task.train.ids):,} in {len(task.train):,} training texts"
    )
    fit = run_fit(store, settings, spec, knobs, task, len(dataset.labels), journal, watch)
    weights = fit.weights()

    journal.phase("evaluating", "rows", sum(len(dataset.classes(part)) for part in (VALIDATION, TEST)))
    files = folder / "model"
    files.mkdir()
    export.write_model(files, weights, task.features, dataset.labels, task.featurizer)
    model = Model(files, knobs.threads)
    validation = metrics(answers_to(model, dataset, VALIDATION))
    answers = answers_to(model, dataset, TEST)
    versus = None
    if spec.champion is not None:
        champion = fetch(store, spec.champion, folder / "champion")
        versus = comparison(spec.champion, answers_to(champion, dataset, TEST), answers)
    manifest: dict[str, Any] = {
        "contract": 1,
        "run_id": spec.run_id,
        "dataset": spec.dataset,
        "snapshot_digest": spec.snapshot_digest,
        "labels": dataset.labels,
        "files": {},
        "rows": {
            "accepted": dataset.accepted,
            "rejected": dataset.rejected,
            "duplicates": dataset.duplicates,
            **dataset.rows_by_part(),
        },
        "metrics": metrics(answers),
        "comparison": versus,
        "trainer_version": settings.trainer_version,
        "recipe": spec.recipe,
        "knobs": asdict(knobs),
        "seed": spec.seed,
        "machine": settings.machine,
        "attempt": settings.attempt,
        "seconds": round(watch.seconds, 3),
        "created_at": "",
    }
    journal.say(told(manifest))

    journal.phase("publishing", "files")
    mistaken = confusion(answers)
    pictures = plots.draw(
        folder / "plots", fit, mistaken, calibration(answers), manifest["metrics"]["calibration_error"]
    )
    for picture in pictures:
        store.upload(f"{journal.prefix}plots/{picture.name}", picture)
    for events in plots.write_events(folder / "tensorboard", fit):
        store.upload(f"{journal.prefix}{events.name}", events)
    publish_rows(store, spec, dataset, task, folder)
    export.write_json(files / "golden.json", golden_rows(model, dataset, answers, spec.seed))
    export.write_json(
        files / "metrics.json",
        {
            "test": manifest["metrics"],
            "validation": validation,
            "comparison": versus,
            "confusion": mistaken,
            "split_by": dataset.split_by,
            "l2": [dict(zip(("strength", "validation_loss", "temperature"), each, strict=True)) for each in fit.tried],
        },
    )
    words = card.top_words(weights, task.features, task.seen)
    named = [f"{journal.prefix}plots/{picture.name}" for picture in pictures]
    text = card.write(spec, dataset, manifest, validation, words, mistaken["commonest_mistakes"], named)
    (files / "model-card.md").write_text(text, encoding="utf-8")
    for path in sorted(files.iterdir()):
        store.upload(f"models/{spec.run_id}/{path.name}", path)
        body = path.read_bytes()
        manifest["files"][path.name] = {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
    journal.outcome("trained", told(manifest))
    manifest["seconds"] = round(watch.seconds, 3)
    manifest["created_at"] = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    store.put_json(manifest_key, manifest)


def told(manifest: dict[str, Any]) -> str:
    """The result as one sentence."""
    ours, versus = manifest["metrics"], manifest["comparison"]
    alone = f"the commonest class alone: {ours['majority_share']:.4f}"
    sentence = f"Accuracy {ours['accuracy']:.4f} on {ours['rows']:,} test rows ({alone})"
    if versus:
        sentence += f"; the champion {versus['champion']} has {versus['metrics']['accuracy']:.4f} on the same rows"
    return sentence + "."


def make_repeatable(seed: int, threads: int) -> None:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


@dataclass(frozen=True)
class Task:
    """What the fit learns from."""

    featurizer: Featurizer
    features: list[str]
    train: Encoded
    validation: Encoded
    seen: torch.Tensor  # in how many training texts each feature stands


def featurize(dataset: Dataset, knobs: Knobs, seed: int, journal: Journal, watch: Watch) -> Task:
    """Count the training texts' n-grams, keep the commonest, and encode the texts with them."""
    featurizer = Featurizer(STRIP_PATTERN, True, TOKEN_PATTERN, knobs.max_tokens, tuple(range(1, knobs.ngrams + 1)))
    rows = dataset.rows_by_part()
    journal.phase("training", "rows", 2 * rows["train"] + rows["validation"])
    watched = _watched(journal, watch, 2 * rows["train"] + rows["validation"])
    counts = count(watched(dataset.texts(TRAIN)), featurizer)
    features = vocabulary(counts, knobs.min_count, min(knobs.max_features, WEIGHTS_AT_MOST // len(dataset.labels)))
    if not features:
        raise Failed(
            f"No word stands in {knobs.min_count} training texts: there is nothing to learn from. Lower 'min_count'."
        )
    cells = sum(counts[feature] for feature in features)
    del counts
    keep = np.random.default_rng(seed).random(rows["train"]) < knobs.max_cells / cells
    if not keep.all():
        journal.say(f"too much for {knobs.max_cells:,} cells: {int(keep.sum()):,} of the training rows are used")
    encoder = Encoder(featurizer, features)
    train = encoded(watched(dataset.texts(TRAIN)), dataset.classes(TRAIN), encoder, keep)
    classes = dataset.classes(VALIDATION)
    validation = encoded(watched(dataset.texts(VALIDATION)), classes, encoder, np.ones(len(classes), dtype=np.bool_))
    seen = torch.from_numpy(np.bincount(train.ids, minlength=len(features))).float()
    return Task(featurizer, features, train, validation, seen)


def _watched(journal: Journal, watch: Watch, total: int) -> Callable[[Iterable[str]], Iterator[str]]:
    done = 0

    def watched(texts: Iterable[str]) -> Iterator[str]:
        nonlocal done
        for text in texts:
            if done % 200 == 0:
                journal.step(done, done / total)
                stop_if_told(watch, "nothing to save yet, the features are made again")
            done += 1
            yield text

    return watched


def run_fit(
    store: S3Store,
    settings: Settings,
    spec: Spec,
    knobs: Knobs,
    task: Task,
    classes: int,
    journal: Journal,
    watch: Watch,
) -> Fit:
    """Pass by pass to the end, or to the machine's end. Raises Interrupted once the checkpoint is complete."""
    fit = Fit(task.train, task.validation, len(task.features), classes, knobs)
    checkpoints = Checkpoints(store, spec.run_id, identity(settings, spec, knobs, task.features))
    if saved := checkpoints.latest():
        fit.load_state_dict(saved[1])
        journal.say(f"resumed from the checkpoint of step {saved[0]}")
    journal.phase("training", "steps")
    saved_at = watch.seconds
    while not fit.finished:
        if watch.notice:
            checkpoints.save(fit.passes, fit.state_dict())
            raise Interrupted(f"{watch.notice}; saved step {fit.passes}.")
        watch.check_time()
        if watch.seconds - saved_at >= knobs.save_every_s:
            checkpoints.save(fit.passes, fit.state_dict())
            saved_at = watch.seconds
        fit.advance()
        strength, loss = fit.losses[-1]
        journal.step(fit.passes, fit.share_done, f"L2 {strength:g}, loss {loss:.4f}")
    journal.say(
        f"fitted in {fit.passes} steps; "
        + "; ".join(f"L2 {l2:g} validation loss {loss:.4f}" for l2, loss, _ in fit.tried)
    )
    return fit


def identity(settings: Settings, spec: Spec, knobs: Knobs, features: list[str]) -> str:
    """Everything that decides the weights: a checkpoint goes on only where all of it is the same."""
    parts = [
        spec.snapshot_digest,
        spec.dataset,
        spec.recipe,
        asdict(knobs),
        spec.seed,
        VERSION,
        settings.trainer_version,
    ]
    parts += [torch.__version__, hashlib.sha256("\n".join(features).encode()).hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def answers_to(model: Model, dataset: Dataset, part: int) -> Answers:
    return ask(model, dataset.texts(part), dataset.classes(part), dataset.labels)


def golden_rows(model: Model, dataset: Dataset, answers: Answers, seed: int) -> list[dict[str, Any]]:
    """Some test rows and the answers of model.onnx, for other readers of the model to check themselves by."""
    clear = [int(row) for row in np.flatnonzero(answers.margin > CLEAR_MARGIN)] or list(range(len(answers.truth)))
    candidates = set(random.Random(seed).sample(clear, min(len(clear), 8 * GOLDEN_ROWS)))
    texts = [text for row, text in enumerate(dataset.texts(TEST)) if row in candidates]
    chosen = [text for text in texts if len(text) <= GOLDEN_TEXT][:GOLDEN_ROWS] or sorted(texts, key=len)[:4]
    return [
        {"text": text, "label": model.labels[int(scores.argmax())], "probabilities": [float(score) for score in scores]}
        for text, scores in zip(chosen, model.answer(chosen), strict=True)
    ]


def publish_rows(store: S3Store, spec: Spec, dataset: Dataset, task: Task, folder: Path) -> None:
    """The rows as trained, and what they look like: the baseline that drift is measured from."""
    for part in range(len(PARTS)):
        store.upload(f"processed/{spec.run_id}/{dataset.path(part).name}", dataset.path(part))
    store.upload(f"processed/{spec.run_id}/rejected.csv", dataset.rejected_path)
    classes = dataset.classes(TRAIN)
    shares = np.bincount(classes, minlength=len(dataset.labels)) / len(classes)
    words = [number for number, feature in enumerate(task.features) if " " not in feature][:50]
    profile = {
        "contract": 1,
        "run_id": spec.run_id,
        "rows": len(classes),
        "class_shares": dict(zip(dataset.labels, shares.tolist(), strict=True)),
        "characters": _quantiles(np.array([len(text) for text in dataset.texts(TRAIN)])),
        "known_features": _quantiles(np.diff(task.train.offsets)),
        "vocabulary": len(task.features),
        "top_tokens": [
            {"token": task.features[each], "share": float(task.seen[each]) / len(task.train)} for each in words
        ],
    }
    export.write_json(folder / "profile.json", profile)
    store.upload(f"processed/{spec.run_id}/profile.json", folder / "profile.json")


def _quantiles(lengths: npt.NDArray[Any]) -> dict[str, float]:
    return {f"{share:g}": float(np.quantile(lengths, share)) for share in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)}
