"""`make train`, or `python -m trainer.alone`: a model from a CSV on this machine, without AWS.

The same code as on a training machine, over folders: the model's files lie in OUT itself, ready to be served; beside
them OUT/logs (log, plots, TensorBoard), OUT/processed (the rows as trained, the refused ones) and, until it is
finished, OUT/checkpoints.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from trainer.__main__ import attempt
from trainer.errors import Failed
from trainer.folder_store import FolderStore, etag_of
from trainer.machine import Watch
from trainer.recipe import MODULES, load
from trainer.settings import Settings
from trainer.spec import SnapshotObject, Spec

HOURS = 24.0 * 365
EPILOG = """
With --test all rows of CSV are for training (a tenth of them chooses among models) and the rows of that file are the
test set, as for published splits. Without it a tenth of CSV is the test set, by a hash of each text.

Ctrl-C saves a checkpoint; the same call goes on from there. A call with other rows, recipe or knobs begins anew and
replaces the model in OUT. The same seed, rows and knobs give the same files.

exit codes:
  0 trained   1 a defect   2 wrong arguments   3 the data or the knobs cannot be trained with   4 interrupted
"""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.alone",
        description="Train a text classifier from a CSV (or csv.gz) on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("csv", type=Path, help="header, a text column, a label column; .csv or .csv.gz")
    parser.add_argument("out", type=Path, help="folder for the model, such as build/model")
    parser.add_argument("--test", type=Path, metavar="CSV", help="a file whose rows are the test set")
    parser.add_argument("--recipe", default="linear", choices=sorted(MODULES), help="default: linear")
    parser.add_argument("--encoder", type=Path, metavar="FOLDER", help="a Hugging Face encoder, for the transformer")
    parser.add_argument("--knobs", default="{}", metavar="JSON", help="what differs from the recipe's defaults")
    parser.add_argument("--seed", type=int, default=17, help="default: 17")
    parser.add_argument("--text", metavar="COLUMN", help="the text column, if its name does not say so")
    parser.add_argument("--label", metavar="COLUMN", help="the label column, if its name does not say so")
    given = parser.parse_args(arguments)
    try:
        knobs = _knobs(given.knobs, given.encoder)
        load(given.recipe).Knobs.of(knobs)
        objects, homes = _objects(given.csv, given.test)
        return _train(given, knobs, objects, homes)
    except Failed as fault:
        print(f"Cannot train: {fault}", file=sys.stderr)
        return 3


def _knobs(text: str, encoder: Path | None) -> dict[str, Any]:
    try:
        knobs = json.loads(text)
    except ValueError as fault:
        raise Failed(f"The knobs are not JSON ({fault}): write them as '{{\"passes\": 20}}'.") from fault
    if not isinstance(knobs, dict):
        raise Failed("The knobs must be a JSON object, such as '{\"passes\": 20}'.")
    return knobs | ({"encoder": str(encoder.resolve())} if encoder else {})


def _objects(csv: Path, test: Path | None) -> tuple[tuple[SnapshotObject, ...], dict[str, Path]]:
    """The files as a snapshot, the test set first, and where their keys lie."""
    objects, homes = [], {}
    for kind, path in (("test", test), ("train", csv)):
        if path is None:
            continue
        if not path.is_file():
            raise Failed(f"There is no file {path}.")
        if not path.stat().st_size:
            raise Failed(f"{path} is empty.")
        key = f"raw/{kind}/{path.name}"
        homes[key] = path
        objects.append(SnapshotObject(key, None, etag_of(path), path.stat().st_size))
    return tuple(objects), homes


def _train(
    given: argparse.Namespace, knobs: dict[str, Any], objects: tuple[SnapshotObject, ...], homes: dict[str, Path]
) -> int:
    digest = _digest(homes)
    about = json.dumps([digest, given.recipe, knobs, given.seed, given.text, given.label], sort_keys=True)
    run_id = f"alone-{hashlib.sha256(about.encode()).hexdigest()[:12]}"
    out: Path = given.out
    _make_room(out, run_id)
    rooms = {f"{kind}/{run_id}/": out / kind for kind in ("logs", "processed", "checkpoints")}
    store = FolderStore({**homes, **rooms, f"models/{run_id}/": out})
    number = 1 + max((int(each.name) for each in (out / "logs").glob("*") if each.name.isdigit()), default=0)
    spec = Spec(
        run_id=run_id,
        dataset="default",
        snapshot_digest=digest,
        objects=objects,
        text_column=given.text,
        label_column=given.label,
        champion=None,
        baseline=None,
        recipe=given.recipe,
        knobs=knobs,
        seed=given.seed,
        max_rejected_share=1.0,
        max_data_shift=1.0,
        max_hours=HOURS,
        max_cost=None,
        prices={},
        test_keys=frozenset(each.key for each in objects if given.test and each.key.startswith("raw/test/")),
    )
    watch = Watch(time.monotonic)
    settings = Settings.of({"TIDEGATE_BUCKET": "none", "TIDEGATE_RUN": run_id, "TIDEGATE_ATTEMPT": str(number)})
    with _keyboard(watch):
        code = attempt(settings, store, watch, spec)
    match code:
        case 0:
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
            _tell(out, number)
        case 4:
            print(f"The same call goes on from the checkpoint in {out / 'checkpoints'}.")
        case 1:
            print(f"The trace is in {out / 'logs' / str(number) / 'train.log'}.", file=sys.stderr)
    return code


def _digest(homes: dict[str, Path]) -> str:
    """Of the files' names and content."""
    found = hashlib.sha256()
    for key, path in homes.items():
        with path.open("rb") as file:
            found.update(f"{key} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{found.hexdigest()}"


def _make_room(out: Path, run_id: str) -> None:
    """A model of other rows, recipe or knobs goes, its manifest first. Nothing but what it lists is touched."""
    manifest = out / "manifest.json"
    if out.exists() and not out.is_dir():
        raise Failed(f"{out} is not a folder.")
    try:
        found = json.loads(manifest.read_bytes()) if manifest.exists() else {"run_id": run_id}
        files = [out / name for name in found.get("files", {})]
    except (ValueError, AttributeError) as fault:
        raise Failed(f"{manifest} is not a model's manifest: choose another folder.") from fault
    if found["run_id"] != run_id:
        for path in [manifest, *files]:
            path.unlink(missing_ok=True)


@contextmanager
def _keyboard(watch: Watch) -> Iterator[None]:
    """Ctrl-C is a notice; the second one ends at once."""

    def told(_number: int, _frame: FrameType | None) -> None:
        print("Saving a checkpoint; Ctrl-C again ends at once.", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        watch.give_notice("sigterm", "Ctrl-C")

    before = signal.signal(signal.SIGINT, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(out: Path, number: int) -> None:
    manifest = json.loads((out / "manifest.json").read_bytes())
    rows, metrics = manifest["rows"], manifest["metrics"]
    print()
    print(f"rows         {rows['train']:,} train, {rows['validation']:,} validation, {rows['test']:,} test; ", end="")
    print(f"{rows['rejected']:,} refused, {rows['duplicates']:,} duplicates")
    print(f"accuracy     {metrics['accuracy']:.4f} on the test rows (always the commonest class: ", end="")
    print(f"{metrics['majority_share']:.4f})")
    print(f"macro F1     {metrics['macro_f1']:.4f}    log loss {metrics['log_loss']:.4f}    ", end="")
    print(f"calibration error {metrics['calibration_error']:.4f}")
    print(f"seconds      {manifest['seconds']:.1f}")
    print(f"model        {out} (read {out / 'model-card.md'})")
    if rows["rejected"]:
        print(f"refused      {out / 'processed' / 'rejected.html'}")
    if (plots := out / "logs" / str(number) / "plots").is_dir():
        print(f"plots        {plots}")
    print(f"serve it     make serve MODEL={out} PORT=8080")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        os._exit(130)  # a second Ctrl-C: nothing is waited for
