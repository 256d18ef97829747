"""Containers of the stand-in, through the client that the emulator uses."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, NotFound

from local.images import push
from local.processes import started_at, wait_until
from tests.local_engine.conftest import PLACEHOLDER, ROOT, Cloud, start_engine
from tests.local_engine.helpers import CRASHES, LEAVES_A_CHILD, NEVER_HEALTHY, REGION, REGISTRY

Pushed = Callable[..., str]


def run(engine: docker.DockerClient, image: str, **options: Any) -> Any:
    return engine.containers.run(image, detach=True, labels={"of": "test"}, **options)


def address(container: Any) -> str:
    container.reload()
    return str(container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])


def get(container: Any, path: str) -> Any:
    with urllib.request.urlopen(f"http://{address(container)}:8080{path}", timeout=10) as response:
        return json.load(response)


def status(container: Any) -> str:
    container.reload()
    return str(container.status)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def below(pid: int) -> list[int]:
    found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [deeper for child in found for deeper in below(child)]


def test_a_started_container_answers_from_the_code_of_its_digest(engine: docker.DockerClient, pushed: Pushed) -> None:
    one, two = run(engine, pushed("answers-1")), run(engine, pushed("answers-2"))
    assert (get(one, "/")["version"], get(two, "/")["version"]) == ("answers-1", "answers-2")
    assert address(one) != address(two)


def test_the_inference_image_of_this_repository_starts(
    engine: docker.DockerClient, cloud: Cloud, repository: str
) -> None:
    digest = push(
        ROOT / "inference_image", repository, "real", image_version="9.9", endpoint=cloud.endpoint, region=REGION
    )
    container = run(engine, f"{REGISTRY}/{repository}@{digest}")
    assert "9.9" in json.dumps(get(container, "/version"))


def test_a_task_that_ecs_does_not_know_is_not_started(engine: docker.DockerClient) -> None:
    label = {"of": "test", "com.amazonaws.ecs.task-arn": f"arn:aws:ecs:{REGION}:000000000000:task/default/unknown"}
    with pytest.raises(APIError, match="500 Server Error"):
        engine.containers.run(PLACEHOLDER, ["true"], detach=True, labels=label, name="unknown")
    assert "unknown" in engine.containers.get("unknown").attrs["State"]["Error"]


def test_a_container_sees_nothing_of_its_users_environment(engine: docker.DockerClient, pushed: Pushed) -> None:
    container = run(
        engine, pushed("environment"),
        environment={"MODEL_URI": "s3://b/models/r1/", "AWS_ACCESS_KEY_ID": "x",
                     "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://host.docker.internal/x"},
    )  # fmt: skip
    seen = get(container, "/environment")
    assert seen["MODEL_URI"] == "s3://b/models/r1/"
    assert seen["BIND_ADDRESS"] == address(container)
    unwanted = {"SECRET_OF_THE_USER", "AWS_ACCESS_KEY_ID", "AWS_CONTAINER_CREDENTIALS_FULL_URI"}
    assert not unwanted & set(seen)


def test_a_crash_at_the_start_fails_it_with_the_exit_code_and_the_last_word(
    engine: docker.DockerClient, pushed: Pushed
) -> None:
    with pytest.raises(APIError, match="exited with code 1 before it was healthy: the vocabulary is missing"):
        run(engine, pushed("crashes", CRASHES), name="crashes")


def test_the_second_try_of_a_failed_container_hears_the_same_reason(
    engine: docker.DockerClient, pushed: Pushed
) -> None:
    reference = pushed("crashes-twice", CRASHES)
    for _ in range(2):
        with pytest.raises(APIError, match="the vocabulary is missing"):
            run(engine, reference, name="crashes-twice")


def test_a_container_that_never_gets_healthy_fails_and_is_ended(engine: docker.DockerClient, pushed: Pushed) -> None:
    with pytest.raises(APIError, match="failed ELB health checks: .*last line of its log: waiting for a model"):
        run(engine, pushed("never", NEVER_HEALTHY), name="never")
    container = engine.containers.get("never")
    assert status(container) == "exited"
    assert container.attrs["State"]["ExitCode"] == 137


def test_a_healthy_container_that_crashes_is_exited_with_its_code(engine: docker.DockerClient, pushed: Pushed) -> None:
    container = run(engine, pushed("crashes-later"))
    with pytest.raises(OSError, match="."):
        get(container, "/exit?code=3")
    assert container.wait()["StatusCode"] == 3
    assert status(container) == "exited"
    assert b"told to exit" in container.logs()


def test_a_healthy_container_that_gets_sick_is_killed(engine: docker.DockerClient, pushed: Pushed) -> None:
    container = run(engine, pushed("sick"))
    get(container, "/sick")
    assert container.wait()["StatusCode"] == 137


def test_a_stop_lets_the_request_at_hand_end(engine: docker.DockerClient, pushed: Pushed) -> None:
    container = run(engine, pushed("drains"))
    answers: list[Any] = []
    client = threading.Thread(target=lambda: answers.append(get(container, "/slow?seconds=2")))
    client.start()
    container.stop(timeout=10)
    client.join()
    assert answers == [{"version": "drains"}]
    assert container.logs().endswith(b"draining\ndrained\n")
    assert container.wait()["StatusCode"] == 0


def test_a_stopping_container_takes_requests_for_a_moment(engine: docker.DockerClient, pushed: Pushed) -> None:
    container = run(engine, pushed("lingers"))
    stopping = threading.Thread(target=container.stop, kwargs={"timeout": 10})
    begun = time.monotonic()
    stopping.start()
    assert get(container, "/")["version"] == "lingers"
    stopping.join()
    assert time.monotonic() - begun >= 1.0


def test_a_container_that_ignores_sigterm_is_killed_after_the_timeout(engine: docker.DockerClient) -> None:
    container = run(
        engine, PLACEHOLDER,
        command=["python3", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); "
                 "print('deaf', flush=True); time.sleep(3600)"],
    )  # fmt: skip
    wait_until(lambda: b"deaf" in container.logs(), 10, "The first word")
    container.stop(timeout=1)
    assert container.wait()["StatusCode"] == 137


def test_what_a_container_started_ends_with_it(engine: docker.DockerClient, pushed: Pushed) -> None:
    container = run(engine, pushed("leaves-a-child", LEAVES_A_CHILD))
    container.reload()
    all_of_it = below(container.attrs["State"]["Pid"])
    assert len(all_of_it) == 2
    with pytest.raises(OSError, match="."):
        get(container, "/exit?code=0")
    container.wait()
    assert [pid for pid in all_of_it if started_at(pid)] == []


def test_logs_follow_until_the_container_ends(engine: docker.DockerClient, pushed: Pushed) -> None:
    container = run(engine, pushed("speaks"))
    heard: list[bytes] = []
    listener = threading.Thread(target=lambda: heard.extend(container.logs(stream=True, follow=True)))
    listener.start()
    get(container, "/say?word=hello")
    wait_until(lambda: b"hello" in b"".join(heard), 10, "The word in the followed log")
    container.stop(timeout=5)
    listener.join(timeout=10)
    assert not listener.is_alive()
    assert b"".join(heard) == b"serving speaks\nhello\ndraining\ndrained\n"
    assert container.logs(tail=1) == b"drained\n"


def test_a_placeholder_runs_its_command_without_a_pull(engine: docker.DockerClient) -> None:
    container = run(engine, PLACEHOLDER, command=["python3", "-c", "print('hello')"])
    assert container.wait()["StatusCode"] == 0
    assert container.logs() == b"hello\n"


def test_any_other_public_image_is_refused_with_what_to_do(engine: docker.DockerClient) -> None:
    with pytest.raises(NotFound, match="no public registry is reachable.*Push the image to the local ECR"):
        engine.images.pull("docker.io/library/nginx", tag="1")


def test_containers_are_found_by_label_and_unknown_ones_are_not(engine: docker.DockerClient) -> None:
    engine.containers.run(PLACEHOLDER, ["true"], detach=True, labels={"of": "test", "color": "blue"}, name="blue")
    listed = engine.containers.list(all=True, filters={"label": ["color=blue", "of"]})
    assert [container.name for container in listed] == ["blue"]
    assert engine.containers.list(all=True, sparse=True, filters={"label": ["color=red"]}) == []
    with pytest.raises(NotFound, match="No such container: green"):
        engine.containers.get("green")


def test_a_name_is_given_once(engine: docker.DockerClient) -> None:
    run(engine, PLACEHOLDER, command=["true"], name="once")
    with pytest.raises(APIError, match="already in use"):
        run(engine, PLACEHOLDER, command=["true"], name="once")


def test_a_killed_engine_leaves_no_process(cloud: Cloud, pushed: Pushed, tmp_path_factory: Any) -> None:
    reference = pushed("orphan", LEAVES_A_CHILD)
    folder = tmp_path_factory.mktemp("e")
    process, socket = start_engine(folder, cloud.endpoint)
    client = docker.DockerClient(base_url=f"unix://{socket}")
    run(client, reference)
    left = below(process.pid)
    client.close()
    assert len(left) == 3, [command_of(pid) for pid in left]
    process.kill()
    process.wait()
    wait_until(lambda: not any(started_at(pid) for pid in left), 10, "The end of all that the stand-in started")


def test_sigterm_ends_all_containers_and_takes_the_socket_away(
    cloud: Cloud, pushed: Pushed, tmp_path_factory: Any
) -> None:
    reference = pushed("ended")
    folder = tmp_path_factory.mktemp("e")
    process, socket = start_engine(folder, cloud.endpoint)
    client = docker.DockerClient(base_url=f"unix://{socket}")
    container = run(client, reference)
    left = below(process.pid)
    log = Path(container.attrs["LogPath"])
    client.close()
    process.terminate()
    assert process.wait(timeout=10) == 0
    assert [pid for pid in left if started_at(pid)] == []
    assert not socket.exists()
    assert log.read_text().endswith("drained\n")
    assert (folder / "engine.log").read_text() == ""
