"""Images that must not serve, on an engine: the good one with another `serve`, or said to be for another machine.

The programs of tests/e2e/bad_images.py, in images that are made of the good one in a second.
"""

from __future__ import annotations

import json
from pathlib import Path

from local.engine.registry import Registry
from tests.engine.conftest import variant


def with_serve(folder: Path, first: str, version: str, program: str) -> Path:
    """The good image with this program as its command."""
    variant(folder, first, version, "COPY --chown=0:0 serve /app/serve")
    (folder / "serve").write_text(f"#!/usr/bin/env python3\n{program}")
    (folder / "serve").chmod(0o755)
    return folder


def for_another_machine(registry: Registry, repository: str, tag: str, of: str) -> str:
    """The image `of` (a tag or a digest) pushed again, its config saying another processor; its digest."""
    _, raw = registry.manifest(repository, of)
    manifest = json.loads(raw)
    config = json.loads(registry.blob(repository, manifest["config"]["digest"]))
    content = json.dumps({**config, "architecture": "s390x"}).encode()
    manifest["config"] |= {"digest": registry.put_blob(repository, content), "size": len(content)}
    return registry.put_manifest(repository, tag, json.dumps(manifest).encode(), manifest["mediaType"])
