"""The order of all tests, and what they share."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader, Loader


class ReadOnce(JSONFileLoader):
    """moto starts each test with a new session, and each session would read the services' descriptions again."""

    def load_file(self, file_path: str) -> Any:
        return _read(file_path)


_read = cache(JSONFileLoader().load_file)
Loader.FILE_LOADER_CLASS = ReadOnce


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files are handed to the processes one by one: the longest first, or all wait for one of them at the end.

    test_trainers.py changes what the stack trains with, so it comes after the others that use the stack. After what
    starts a cloud comes what trains; the many small ones fill what is left.
    """
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if item.get_closest_marker("e2e") is None:
        return 2 if item.path.parent.name == "trainer" else 3
    return 1 if item.path.name == "test_trainers.py" else 0
