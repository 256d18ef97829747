"""A bucket with drops in it, and attempts at runs, through the trainer's own door."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
from moto import mock_aws

from trainer.__main__ import attempt
from trainer.machine import Watch
from trainer.settings import Settings
from trainer.store import S3Store, Store

BUCKET = "tidegate-test"
CONTRACTS = Path(__file__).parents[2] / "events" / "contracts"

GOOD = ("wonderful", "moving", "brilliant", "warm", "clever", "charming", "a joy", "superb")
BAD = ("dull", "awful", "clumsy", "boring", "a mess", "tedious", "stupid", "lifeless")
PLAIN = ("film", "plot", "actor", "scene", "music", "story", "ending", "camera", "script", "hour")

LIMITS: dict[str, Any] = {
    "max_rejected_share": 0.05,
    "max_data_shift": 1,
    "max_hours": 1,
    "max_cost": None,
    "prices": {},
}


def reviews(rows: int, seed: int = 1) -> list[tuple[str, str]]:
    """Short reviews whose words tell their label, nine times of ten."""
    pick = random.Random(seed)
    made = []
    for number in range(rows):
        label = pick.choice(["pos", "neg"])
        honest = pick.random() < 0.9
        words = GOOD if (label == "pos") == honest else BAD
        plain = pick.sample(PLAIN, 4)
        made.append((f"the {plain[0]} was {pick.choice(words)}, the {plain[1]} {plain[2]} {plain[3]} {number}", label))
    return made


def as_csv(rows: list[tuple[str, str]], header: str = "text,label") -> bytes:
    lines = [header] + ['"{}",{}'.format(text.replace('"', '""'), label) for text, label in rows]
    return ("\n".join(lines) + "\n").encode()


def check(contract: str, value: Any) -> None:
    """Raises when the value does not follow the contract."""
    schema = json.loads((CONTRACTS / f"{contract}.json").read_text(encoding="utf-8"))
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)


class Bench:
    """A bucket with drops in it, and attempts at runs."""

    def __init__(self) -> None:
        self.s3 = boto3.client("s3", region_name="us-east-1")
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.store = S3Store(BUCKET, self.s3)

    def drop(self, key: str, body: bytes) -> dict[str, Any]:
        put = self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return {"key": key, "version_id": put["VersionId"], "etag": put["ETag"].strip('"'), "bytes": len(body)}

    def ask(self, run_id: str, *objects: dict[str, Any], **changes: Any) -> None:
        """Write the run's spec."""
        digest = hashlib.sha256(json.dumps(objects).encode()).hexdigest()
        spec = {
            "contract": 1,
            "run_id": run_id,
            "dataset": "default",
            "snapshot": {"digest": f"sha256:{digest}", "objects": list(objects)},
            "columns": {"text": None, "label": None},
            "champion": None,
            "baseline": None,
            "recipe": "linear",
            "knobs": {"threads": 1, "steps_per_pass": 2},
            "seed": 17,
            "limits": LIMITS,
        } | changes
        check("run_spec", spec)
        self.store.put_json(f"runs/{run_id}/spec.json", spec)

    def run(self, run_id: str, number: int = 1, watch: Watch | None = None, store: Store | None = None) -> int:
        settings = Settings.of(
            {"TIDEGATE_BUCKET": BUCKET, "TIDEGATE_RUN": run_id, "TIDEGATE_ATTEMPT": str(number)},
        )
        return attempt(settings, store or self.store, watch or Watch(ticking()))

    def json(self, key: str) -> Any:
        return self.store.get_json(key)

    def outcome(self, run_id: str, number: int = 1) -> dict[str, Any]:
        told: dict[str, Any] = self.json(f"logs/{run_id}/{number}/outcome.json")
        check("outcome", told)
        return told

    def manifest(self, run_id: str) -> dict[str, Any]:
        manifest: dict[str, Any] = self.json(f"models/{run_id}/manifest.json")
        check("manifest", manifest)
        return manifest


@contextmanager
def in_memory() -> Iterator[Bench]:
    """On an AWS in memory, with dummy keys: no account can be reached."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        with mock_aws():
            yield Bench()


def ticking(step: float = 0.001) -> Callable[[], float]:
    """A clock that moves a little whenever it is looked at."""
    ticks = itertools.count()
    return lambda: next(ticks) * step
