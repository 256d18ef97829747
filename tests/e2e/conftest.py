"""One stack for end-to-end tests: the real template in the local cloud, IAM enforced. Each test has a dataset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.cloud import Cloud
from local.processes import free_port
from tests.e2e.stack import Stack

MINUTE_SECONDS = "1"  # of a machine's `shutdown -h +minutes`


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from deployed(tmp_path_factory)


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """For tests whose releases would be counted by others."""
    yield from deployed(tmp_path_factory)


def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("TIDEGATE_MINUTE_SECONDS", MINUTE_SECONDS)
        with Cloud(state=tmp_path_factory.mktemp("cloud"), port=free_port()) as cloud:
            cloud.deploy(parameters={"CapacityWaitSeconds": "1"})
            made = cloud.client("cloudformation").describe_stacks(StackName=cloud.stack)["Stacks"][0]["Outputs"]
            yield Stack(cloud, {output["OutputKey"]: output["OutputValue"] for output in made})
