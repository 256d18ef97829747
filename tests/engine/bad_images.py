"""Images that must not serve, on an engine: the good one with another `serve`, or said to be for another machine.

The programs of tests/e2e/bad_images.py, in images that are made of the good one in a second.
"""

from __future__ import annotations

import json
from pathlib import Path

from local.engine.registry import OCI_MANIFEST, Registry, digest_of
from tests.engine.conftest import variant

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
LATER = """
import os, threading
threading.Timer({seconds}, lambda: (print("the cache is full", flush=True), os._exit(7))).start()
"""


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


def with_attestation(registry: Registry, repository: str, tag: str, of: str) -> tuple[str, str]:
    """What `docker buildx build --push` makes of an image: an index of it and of where it came from.

    Returns the digests of the index and of the image in it.
    docs.docker.com/build/metadata/attestations/attestation-storage/
    """
    digest, raw = registry.manifest(repository, of)
    manifest = json.loads(raw)
    config = json.loads(registry.blob(repository, manifest["config"]["digest"]))
    statement = json.dumps({"_type": "https://in-toto.io/Statement/v0.1", "subject": [], "predicate": {}}).encode()
    about = json.dumps(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(statement)]},
        }
    ).encode()
    layer = {
        "mediaType": "application/vnd.in-toto+json",
        "digest": registry.put_blob(repository, statement),
        "size": len(statement),
        "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
    }
    attestation = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": registry.put_blob(repository, about),
                "size": len(about),
            },
            "layers": [layer],
        }
    ).encode()
    attested = registry.put_manifest(repository, digest_of(attestation), attestation, OCI_MANIFEST)
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": manifest["mediaType"],
                    "digest": digest,
                    "size": len(raw),
                    "platform": {"architecture": config["architecture"], "os": "linux"},
                },
                {
                    "mediaType": OCI_MANIFEST,
                    "digest": attested,
                    "size": len(attestation),
                    "platform": {"architecture": "unknown", "os": "unknown"},
                    "annotations": {
                        "vnd.docker.reference.digest": digest,
                        "vnd.docker.reference.type": "attestation-manifest",
                    },
                },
            ],
        }
    ).encode()
    return registry.put_manifest(repository, tag, index, OCI_INDEX), digest
