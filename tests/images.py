"""Inference images made for tests: another version of the good one, and such as must not serve.

As folders for any engine: the local cloud makes an image of a folder, as a person's `docker build` would. On an image
that is there already, it takes a second; and some are made in the registry alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.engine.registry import OCI_MANIFEST, Registry, digest_of

GOOD = Path(__file__).resolve().parents[1] / "inference_image"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
ARM = {"architecture": "arm64", "os": "linux", "variant": "v8"}  # as a laptop of Apple's builds, unless it is told

# Programs for `serve`.
CRASHES = 'print("looking for the vocabulary", flush=True)\nraise SystemExit("the vocabulary is missing")\n'
NEVER_HEALTHY = 'import time\nprint("waiting for a model", flush=True)\ntime.sleep(3600)\n'

# What the good program does besides: see `good_serve`.
OTHER_LABELS = """
import dataclasses
import inference.server
proven = inference.server.setup
def setup(*given):
    model = proven(*given)  # as it should be, and then every label is taken for another
    return dataclasses.replace(model, labels=model.labels[::-1])
inference.server.setup = setup
"""
NEVER_READY = """
import inference.server
from inference.app import as_json
from starlette.routing import Route
made = inference.server.create_app
async def ready(_):
    print("the cache is cold", flush=True)
    return as_json({"ready": False, "reason": "The cache is cold."}, 503)
def create_app(*given):
    app = made(*given)  # alive, and it answers; it only never says that it is ready
    app.router.routes.insert(0, Route("/ready", ready))
    return app
inference.server.create_app = create_app
"""
LATER = """
import os, threading
threading.Timer({seconds}, lambda: (print("the cache is full", flush=True), os._exit(7))).start()
"""


def good_serve(before: str) -> str:
    """The good image's own program, after something else."""
    lines = (GOOD / "serve").read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("sys.exit"))
    return "".join([*lines[1:place], before, *lines[place:]])


def with_serve(folder: Path, program: str) -> Path:
    """A copy of the good image in `folder`, whose `serve` is this program."""
    shutil.copytree(GOOD, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return serving(folder, program)


def variant(folder: Path, first: str, version: str, *more: str) -> Path:
    """A folder whose image is the image `first` with another version, and with whatever else is said."""
    folder.mkdir(parents=True)
    (folder / "VERSION").write_text(f"{version}\n")
    (folder / "Dockerfile").write_text("\n".join([f"FROM {first}", "COPY VERSION /app/VERSION", *more, ""]))
    return folder


def variant_with_serve(folder: Path, first: str, version: str, program: str) -> Path:
    return serving(variant(folder, first, version, "COPY --chown=0:0 serve /app/serve"), program)


def serving(folder: Path, program: str) -> Path:
    (folder / "serve").write_text(f"#!/usr/bin/env python3\n{program}")
    (folder / "serve").chmod(0o755)
    return folder


def for_arm(registry: Registry, repository: str, tag: str, of: str) -> str:
    """The image `of` (a tag or a digest) pushed again, built for arm64 as its config says; its digest."""
    _, raw = registry.manifest(repository, of)
    manifest = json.loads(raw)
    config = json.loads(registry.blob(repository, manifest["config"]["digest"]))
    content = as_bytes({**config, **ARM})
    manifest["config"] |= {"digest": registry.put_blob(repository, content), "size": len(content)}
    return registry.put_manifest(repository, tag, as_bytes(manifest), manifest["mediaType"])


def with_attestation(registry: Registry, repository: str, tag: str, of: str) -> tuple[str, str]:
    """What `docker buildx build --push` makes of an image: an index of it and of where it came from.

    Returns the digests of the index and of the image in it.
    docs.docker.com/build/metadata/attestations/attestation-storage/
    """
    digest, raw = registry.manifest(repository, of)
    manifest = json.loads(raw)
    config = json.loads(registry.blob(repository, manifest["config"]["digest"]))
    about, attestation = attestation_of(registry, repository, digest)
    platform = {name: config[name] for name in ARM if name in config}
    image = {"mediaType": manifest["mediaType"], "digest": digest, "size": len(raw), "platform": platform}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [image, attestation | about]}
    return registry.put_manifest(repository, tag, as_bytes(index), OCI_INDEX), digest


def attestation_of(registry: Registry, repository: str, image: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the index says it is about, and its own place."""
    statement = as_bytes({"_type": "https://in-toto.io/Statement/v0.1", "subject": [], "predicate": {}})
    rootfs = {"type": "layers", "diff_ids": [digest_of(statement)]}
    config = as_bytes({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs})
    layer = {
        "mediaType": "application/vnd.in-toto+json",
        "digest": registry.put_blob(repository, statement),
        "size": len(statement),
        "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
    }
    place = {"mediaType": OCI_CONFIG, "digest": registry.put_blob(repository, config), "size": len(config)}
    content = as_bytes({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": place, "layers": [layer]})
    about = {
        "platform": {"architecture": "unknown", "os": "unknown"},
        "annotations": {"vnd.docker.reference.digest": image, "vnd.docker.reference.type": "attestation-manifest"},
    }
    pushed = registry.put_manifest(repository, digest_of(content), content, OCI_MANIFEST)
    return about, {"mediaType": OCI_MANIFEST, "digest": pushed, "size": len(content)}


def as_bytes(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told).encode()
