"""Two processes under torchrun take the steps together; only the first one knows the bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.trainer.bench import BUCKET, Bench, as_csv, reviews
from tests.trainer.mortal import tiny_encoder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # Every test gives this key: outside of moto's mock the SDK's default session keeps the first that it saw.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    yield Bench()
    server.stop()


def run(run_id: str) -> subprocess.CompletedProcess[str]:
    asked = {"TIDEGATE_BUCKET": BUCKET, "TIDEGATE_RUN": run_id, "TIDEGATE_ATTEMPT": "1", "TIDEGATE_PROCESSES": "2"}
    call = [sys.executable, "-m", "trainer"]
    root = Path(__file__).parents[2]
    return subprocess.run(call, cwd=root, env=os.environ | asked, capture_output=True, text=True, timeout=300)


def test_two_processes_make_one_model(served: Bench, tmp_path: Path) -> None:
    knobs = {"encoder": str(tiny_encoder(tmp_path / "encoder")), "threads": 1, "max_tokens": 16, "epochs": 1}
    served.ask("both", served.drop("raw/a.csv", as_csv(reviews(70))), recipe="transformer", knobs=knobs)
    ended = run("both")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    served.manifest("both")
    ready = [key for key in served.store.keys("checkpoints/both/") if key.endswith("READY.json")]
    assert json.loads(served.store.get(ready[-1]))["step"] > 1
    assert ended.stdout.count("fitted in") == 1
    assert run("nothing").returncode == 3
