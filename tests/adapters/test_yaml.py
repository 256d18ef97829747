"""YAML that people write is read, and nothing in it is executed."""

from __future__ import annotations

import pytest
from controlplane.adapters.yaml_text import read_yaml
from controlplane.domain.config import BadConfig, accepted


def test_what_people_write_is_read() -> None:
    told = b"# how films are trained\nrecipe: transformer\nknobs:\n  epochs: 3\n  rate: 2.0e-5\ntext_column: comment\n"
    assert read_yaml(told) == {"recipe": "transformer", "knobs": {"epochs": 3, "rate": 2e-5}, "text_column": "comment"}
    assert read_yaml(b"") is None
    assert read_yaml("text_column: größe\n".encode()) == {"text_column": "größe"}


@pytest.mark.parametrize(
    "content",
    [
        b"recipe: [",
        b"\xff\xfe\xfa",
        b"!!python/object/apply:os.system [ls]",
        b"a: &a [x, x]\nb: [*a, *a]",
        b"[" * 20_000,
        b"recipe: linear\n---\nrecipe: linear\n",
    ],
)
def test_what_is_broken_or_clever_is_refused(content: bytes) -> None:
    with pytest.raises(BadConfig, match="It is not YAML"):
        accepted(content, read_yaml)
