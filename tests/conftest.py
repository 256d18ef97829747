"""Who runs beside whom in `make test`: two workers, a file stays whole, and one local cloud at a time."""

from __future__ import annotations

import pytest

ONE_AT_A_TIME = ("tests/e2e/", "tests/local/", "tests/local_engine/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        place = item.nodeid.partition("::")[0]
        group = "the local cloud" if place.startswith(ONE_AT_A_TIME) else place
        item.add_marker(pytest.mark.xdist_group(group))
