"""One attempt, from the spec to the manifest, in the order in which it happens.

spec -> snapshot's rows, checked and split -> what the recipe makes of them -> fit, step by step, from the checkpoint if
there is one -> evaluation on the frozen test rows, the champion's answers beside ours -> files -> manifest.json, last.
What is particular to a kind of model is in its recipe (recipe.py); all of this is the same for every one.

Known downside: after an interruption rows and features are made again from the same object versions; only the fit
goes on from where it was. They take seconds, and a checkpoint stays small.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer import VERSION, card, export, plots, profile
from trainer.checkpoint import newest_step
from trainer.dataset import Dataset, gather
from trainer.evaluate import Answers, ask, calibration, comparison, confusion, metrics
from trainer.journal import Journal
from trainer.loop import make_repeatable, run_fit
from trainer.machine import Watch
from trainer.model_files import Model, fetch
from trainer.recipe import History, LoopKnobs, Work, load
from trainer.settings import Settings
from trainer.spec import Spec, read_spec
from trainer.split import PARTS, TEST, VALIDATION
from trainer.store import Store
from trainer.team import Team

GOLDEN_ROWS = 32
GOLDEN_TEXT = 5_000  # characters
CLEAR_MARGIN = 1e-3  # a golden row must not hang on a rounding error


def train(
    settings: Settings,
    store: Store,
    journal: Journal,
    watch: Watch,
    folder: Path,
    now: Callable[[], datetime],
    spec: Spec | None = None,
    team: Team | None = None,
) -> None:
    """Publish the run's model. Raises Failed, Interrupted or Stopped with one sentence."""
    manifest_key = f"models/{settings.run_id}/manifest.json"
    if store.exists(manifest_key):
        journal.say(f"{manifest_key} is there already: nothing to do.")
        return
    journal.saved_step = newest_step(store, settings.run_id)
    spec = spec or read_spec(store, settings.run_id)
    recipe = load(spec.recipe)
    knobs = recipe.Knobs.of(spec.knobs)
    watch.limit(spec.max_hours, spec.max_cost, spec.price_of(settings.machine))
    make_repeatable(spec.seed, knobs.threads)
    work = Work(store, journal, watch, folder, team or Team())

    journal.phase("reading", "rows")
    dataset = gather(store, spec, folder, journal, watch, now)
    shown = ", ".join(f"{rows:,} {part}" for part, rows in dataset.rows_by_part().items())
    journal.say(
        f"read: {dataset.accepted:,} rows accepted, {dataset.rejected:,} refused, {dataset.duplicates:,} duplicates; "
        f"{shown} (split by {dataset.split_by})"
    )
    shift = profile.data_shift(store, spec, dataset, journal.say)
    task = recipe.prepare(dataset, knobs, spec.seed, work)
    mark = identity(settings, spec, knobs, recipe.fingerprint(task))
    fit, resumed = run_fit(recipe, task, knobs, spec.run_id, mark, work)

    files = folder / "model"
    files.mkdir()
    recipe.write_model(files, task, fit, dataset)
    history, blind = History.of(fit), fit.learnt_validation
    words, features = recipe.words(task, fit), recipe.profile_features(task)
    del fit, task  # their memory is for the evaluation

    rows = len(dataset.classes(TEST)) * (1 if spec.champion is None else 2)
    rows += 0 if blind else len(dataset.classes(VALIDATION))
    journal.phase("evaluating", "rows", rows)
    watched = work.watched(rows, f"the finished fit is saved as step {history.step}, the evaluation is made again")
    model = Model(files, knobs.threads)

    def answers_of(model: Model, part: int) -> Answers:
        return ask(model, watched(dataset.texts(part)), dataset.classes(part), dataset.labels)

    validation = None if blind else metrics(answers_of(model, VALIDATION))
    answers = answers_of(model, TEST)
    versus = None
    if spec.champion is not None:
        champion = fetch(store, spec.champion, folder / "champion")
        versus = comparison(spec.champion, answers_of(champion, TEST), answers)
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
        "resumed": resumed[-1] if resumed else None,
        "data_shift": shift,
        "seconds": round(watch.seconds, 3),
        "created_at": "",
    }
    journal.say(told(manifest))

    if store.exists(manifest_key):
        journal.say(f"{manifest_key} is there already: an earlier attempt was not dead, and published the same model.")
        return
    journal.phase("publishing", "files")
    mistaken = confusion(answers)
    error = manifest["metrics"]["calibration_error"]
    pictures = plots.draw(folder / "plots", history, resumed, mistaken, calibration(answers), error)
    for picture in pictures:
        store.upload(f"{journal.prefix}plots/{picture.name}", picture)
    for events in plots.write_events(folder / "tensorboard", history):
        store.upload(f"{journal.prefix}{events.name}", events)
    publish_rows(store, spec, dataset, features, folder)
    export.write_json(files / "golden.json", golden_rows(model, dataset, answers, spec.seed))
    export.write_json(
        files / "metrics.json",
        {
            "test": manifest["metrics"],
            "validation": validation,
            "comparison": versus,
            "confusion": mistaken,
            "split_by": dataset.split_by,
            "steps": history.step,
            "best_validation_loss": history.best,
        },
    )
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


def identity(settings: Settings, spec: Spec, knobs: LoopKnobs, fingerprint: str) -> str:
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
    parts += [torch.__version__, fingerprint]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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


def publish_rows(
    store: Store,
    spec: Spec,
    dataset: Dataset,
    features: tuple[dict[str, float] | None, int | None, list[dict[str, Any]]],
    folder: Path,
) -> None:
    """The rows as trained, and what they look like: the baseline that drift is measured from."""
    for part in range(len(PARTS)):
        store.upload(f"processed/{spec.run_id}/{dataset.path(part).name}", dataset.path(part))
    known_features, vocabulary, top_tokens = features
    told = {
        **profile.of_rows(spec.run_id, dataset),
        "known_features": known_features,
        "vocabulary": vocabulary,
        "top_tokens": top_tokens,
    }
    export.write_json(folder / "profile.json", told)
    store.upload(f"processed/{spec.run_id}/profile.json", folder / "profile.json")
