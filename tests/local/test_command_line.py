"""What `python -m local` answers where nothing needs to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.processes import free_port

ROOT = Path(__file__).resolve().parents[2]


def local(state: Path, *words: str, to: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Without make's PYTHONPATH, as a person types it."""
    environment = {**os.environ, "TIDEGATE_PORT": str(free_port()), "PYTHONPATH": ""}
    command = [sys.executable, "-m", "local", "--state", str(state), *words]
    return subprocess.run(command, env=environment, stdout=to, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("words", [["inbox"], ["inbox", "--follow"], ["status", "--json"]])
def test_who_stops_reading_gets_no_traceback(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "inbox").mkdir()
    for number in range(1, 4):
        (tmp_path / "inbox" / f"{number}.json").write_text("{}")
        (tmp_path / "inbox" / f"{number}.txt").write_text("x" * 100_000)
    reader, writer = os.pipe()
    os.close(reader)
    done = local(tmp_path, *words, to=writer)
    os.close(writer)
    assert "Error" not in done.stderr and "Traceback" not in done.stderr


def test_steps_go_on_when_nobody_reads_of_them(tmp_path: Path) -> None:
    told = "from local.__main__ import teller; say = teller(); say('1'); say('2'); open('done', 'w')"
    reader, writer = os.pipe()
    os.close(reader)
    subprocess.run(
        [sys.executable, "-c", told],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=writer,
        check=True,
    )
    os.close(writer)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("words", [["--add", "CVE-1:HIGH:zlib"], ["--status", "FAILED"]])
def test_findings_of_no_image_are_asked_back_for(tmp_path: Path, words: list[str]) -> None:
    done = local(tmp_path, "findings", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Say which image") and "make findings IMAGE=v2" in done.stderr


def test_a_bad_tag_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    done = local(tmp_path, "push", "bad/tag")
    assert done.returncode == 1
    assert done.stderr.startswith("'bad/tag' cannot be a tag")


def test_without_a_cloud_there_are_only_the_mails_of_the_last_one_and_that_is_said(tmp_path: Path) -> None:
    done = local(tmp_path, "inbox")
    assert (done.returncode, done.stderr) == (1, "The local cloud is not running. Run: make up\n")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "1.json").write_text("{}")
    (tmp_path / "inbox" / "1.txt").write_text("Subject: Promoted")
    done = local(tmp_path, "inbox")
    assert (done.returncode, done.stdout) == (0, "Subject: Promoted\n")
    assert done.stderr.startswith("The local cloud is down.")
