"""Who runs beside whom in `make test`: two workers; a file stays whole, and so do the tests of the local cloud."""

from __future__ import annotations

import pytest

TOGETHER = ("tests/e2e/", "tests/local")  # one stack for all of the first; one emulator at a time for the others


@pytest.hookimpl(tryfirst=True)  # before the worker reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        place = item.nodeid.partition("::")[0]
        group = next((folder for folder in TOGETHER if place.startswith(folder)), place)
        item.add_marker(pytest.mark.xdist_group(group))
