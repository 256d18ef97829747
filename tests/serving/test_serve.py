"""The real `serve`: what a rollout and a load balancer see of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.serving.conftest import (
    DEADLINE_SECONDS,
    SERVE,
    Running,
    by_contract,
    environment,
    free_port,
    s3_client,
    until,
)
from tests.serving.tiny_model import RUN, write_model

Serve = Callable[..., Running]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def bucket(model_folder: Path) -> Iterator[str]:
    """The endpoint of an S3 that holds the tiny model in the bucket `tidegate`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    client = s3_client(endpoint)
    client.create_bucket(Bucket="tidegate")
    for file in model_folder.iterdir():
        client.upload_file(str(file), "tidegate", f"models/{RUN}/{file.name}")
    yield endpoint
    client.close()
    server.stop()


def refused(**settings: str) -> subprocess.CompletedProcess[str]:
    """`serve` that is expected to end by itself."""
    return subprocess.run(
        [str(SERVE)],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def lines(running: Running) -> list[dict[str, object]]:
    return [json.loads(line) for line in running.process.communicate()[0].splitlines()]


def test_it_serves_a_model_from_s3_and_ends_well(serve: Serve, bucket: str) -> None:
    running = serve(MODEL_URI=f"s3://tidegate/models/{RUN}/", TIDEGATE_RELEASE="9", AWS_ENDPOINT_URL=bucket, **KEYS)
    assert by_contract("ready", httpx.get(f"{running.url}/ready").json()) == {"ready": True}
    response = httpx.post(f"{running.url}/predict", json={"text": "The movie was amazing!"})
    assert by_contract("predict_response", response.json())["label"] == "positive"
    assert response.headers["x-tidegate-release"] == "9"
    assert running.end() == 0
    said = lines(running)
    assert f"serving {RUN} as release 9" in str(said[0]["message"])
    assert said[1]["Requests"] == 1
    assert "amazing" not in json.dumps(said)


def test_it_writes_nothing_and_the_runtime_does_not_call_home(serve: Serve, model_folder: Path, tmp_path: Path) -> None:
    places = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    running = serve(MODEL_URI=model_folder.as_uri(), ORT_DISABLE_TELEMETRY="0", **places)
    assert httpx.post(f"{running.url}/predict", json={"text": "great"}).status_code == 200
    assert running.end() == 0
    assert list(tmp_path.iterdir()) == []  # with telemetry on, ONNX Runtime keeps a device id and a queue here


def test_without_a_model_it_serves_its_reason(serve: Serve) -> None:
    running = serve()
    assert httpx.get(f"{running.url}/ready").status_code == 503
    assert running.end() == 0


def test_it_runs_from_wherever_its_files_were_unpacked(serve: Serve, tmp_path: Path, model_folder: Path) -> None:
    app = tmp_path / "rootfs" / "app"
    app.mkdir(parents=True)
    for name in ("serve", "VERSION"):
        shutil.copy(SERVE.parent / name, app / name)
    shutil.copytree(SERVE.parent / "inference", app / "inference", ignore=shutil.ignore_patterns("__pycache__"))
    (app / "VERSION").write_text("41\n")
    running = serve(app / "serve", MODEL_URI=model_folder.as_uri(), PYTHONDONTWRITEBYTECODE="1")
    version = by_contract("version", httpx.get(f"{running.url}/version").json())
    assert version["image_version"] == "41"
    assert not list(app.rglob("__pycache__"))
    assert running.end() == 0


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("vocabulary.txt", b"good", b"evil", "vocabulary.txt has sha256"),
        ("model.onnx", b"ids", b"ixs", "model.onnx has sha256"),
    ],
)
def test_a_changed_file_fails_the_start_in_one_line(
    tmp_path: Path, name: str, before: bytes, after: bytes, words: str
) -> None:
    folder = write_model(tmp_path / "model")
    (folder / name).write_bytes((folder / name).read_bytes().replace(before, after, 1))
    ended = refused(MODEL_URI=folder.as_uri(), PORT=str(free_port()))
    assert ended.returncode == 1
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_golden_row_that_comes_out_otherwise_fails_the_start(tmp_path: Path) -> None:
    def turn(files: dict[str, bytes]) -> None:
        rows = json.loads(files["golden.json"])
        rows[0]["label"] = "negative"
        files["golden.json"] = json.dumps(rows).encode()

    ended = refused(MODEL_URI=write_model(tmp_path / "model", change=turn).as_uri(), PORT=str(free_port()))
    assert ended.returncode == 1
    assert "golden row 0 comes out as 'positive', but the trainer got 'negative'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_model_that_is_not_in_s3_fails_the_start(bucket: str) -> None:
    ended = refused(MODEL_URI="s3://tidegate/models/absent/", AWS_ENDPOINT_URL=bucket, PORT=str(free_port()), **KEYS)
    assert ended.returncode == 1
    assert "s3://tidegate/models/absent/manifest.json cannot be read: it is not there" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_bad_settings_and_a_taken_port_fail_the_start(serve: Serve) -> None:
    ended = refused(PORT="0", MODEL_URI="ftp://x")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "MODEL_URI" in ended.stderr
    assert "PORT" in ended.stderr
    taken = serve().url.rsplit(":", 1)[1]
    ended = refused(PORT=taken)
    assert ended.returncode == 1
    assert ended.stderr == f"serve: Port {taken} on 127.0.0.1 cannot be opened: Address already in use.\n"


def test_the_health_check_of_the_image_asks_the_running_server(serve: Serve) -> None:
    running = serve()
    port = running.url.rsplit(":", 1)[1]

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SERVE), "--check"], env=environment(PORT=port), capture_output=True, text=True, check=False
        )

    assert check().returncode == 0
    running.end()
    ended = check()
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"serve: Nothing answers on 127.0.0.1:{port}")


def test_a_signal_while_the_model_is_read_ends_it_well(tmp_path: Path) -> None:
    waiting = tmp_path / "manifest.json"
    os.mkfifo(waiting)
    process = subprocess.Popen([str(SERVE)], env=environment(MODEL_URI=tmp_path.as_uri(), PORT=str(free_port())))

    def reader_came() -> int | None:
        try:
            return os.open(waiting, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as fault:
            assert fault.errno == errno.ENXIO
            return None

    writer = until(reader_came, "serve reads the manifest")
    try:
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        os.close(writer)
        process.kill()
        process.wait()


def test_draining_under_load_loses_no_request(serve: Serve, model_folder: Path) -> None:
    """Eight clients as a load balancer's: they keep their connections, and turn away when /ready says 503."""
    running = serve(MODEL_URI=model_folder.as_uri(), DRAIN_SECONDS="1.5")
    turned_away: list[int] = []
    answers: list[int] = []

    def client(_: int) -> list[int]:
        statuses = []
        with httpx.Client(base_url=running.url) as http:
            while not turned_away:
                statuses.append(http.post("/predict", json={"texts": ["great film"] * 3}).status_code)
                answers.append(1)
        return statuses

    def balancer() -> None:
        with httpx.Client(base_url=running.url) as http:
            turned_away.append(until(lambda: http.get("/ready").status_code == 503, "/ready says 503"))

    with ThreadPoolExecutor(9) as pool:
        clients = [pool.submit(client, number) for number in range(8)]
        until(lambda: len(answers) >= 100, "a hundred answers")
        before = len(answers)
        watching = pool.submit(balancer)
        running.process.terminate()
        watching.result(DEADLINE_SECONDS)
        statuses = [status for one in clients for status in one.result(DEADLINE_SECONDS)]
    assert len(statuses) > before
    assert set(statuses) == {200}
    assert running.process.wait(DEADLINE_SECONDS) == 0
    assert sum(int(str(line.get("Requests", 0))) for line in lines(running)) == len(statuses)


def test_a_long_request_that_runs_at_the_signal_is_finished(serve: Serve, model_folder: Path) -> None:
    running = serve(MODEL_URI=model_folder.as_uri(), DRAIN_SECONDS="0")
    slow = {"texts": ["<" * 100_000] * 40}
    before = _processor_seconds(running.process.pid)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.post, f"{running.url}/predict", json=slow, timeout=DEADLINE_SECONDS)
        until(lambda: _processor_seconds(running.process.pid) > before + 0.3, "the request runs")
        assert not asked.done()
        running.process.terminate()
        assert asked.result(DEADLINE_SECONDS).status_code == 200
    assert running.process.wait(DEADLINE_SECONDS) == 0


def _processor_seconds(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def test_a_folder_is_served_here_in_plain_words(model_folder: Path) -> None:
    port = free_port()
    command = [str(SERVE), "--model", str(model_folder)]
    settings = {**environment(PORT=str(port)), "BIND_ADDRESS": "0.0.0.0"}
    process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == f"{RUN} answers at http://127.0.0.1:{port}/ (Ctrl+C ends it)\n"
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url), "the page answers")
        assert httpx.post(f"{url}/predict", json={"text": "great"}).json()["label"] == "positive"
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=DEADLINE_SECONDS)
        assert (process.returncode, said, complained) == (0, "", "")
    finally:
        process.kill()
        process.communicate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(("made", "why"), [(False, "there is no such folder"), (True, "it has no manifest.json")])
def test_a_folder_without_a_model_says_how_to_make_one(tmp_path: Path, made: bool, why: str) -> None:
    folder = tmp_path / "model"
    if made:
        folder.mkdir()
    ended = subprocess.run(
        [str(SERVE), "--model", str(folder)], env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        f"serve: {folder} is not a model: {why}. Train one: make train CSV=reviews.csv OUT={folder}\n"
    )
