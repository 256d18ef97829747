"""`sam build` of the template, once for the same files: what it made is kept, ready to be deployed again and again."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from samcli.yamlhelper import yaml_dump, yaml_parse

from local.sam import ROOT, overrides, sam

KEPT_BUILDS = 4


def build(template: Path, work: Path, parameters: Mapping[str, str]) -> Path:
    """`sam build` into this cloud's own folder, or what it made of the very same files before. One build at a time."""
    cache, kept, built = ROOT / "build" / "sam-cache", ROOT / "build" / "sam-built", work / "build"
    for folder in (cache, kept):  # of its cache sam removes what is not of the last build
        folder.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = kept / fingerprint(template, parameters)
        if not known.is_dir():
            fresh = kept / "unfinished"
            shutil.rmtree(fresh, ignore_errors=True)
            sam(
                ["build", "--template-file", str(template), "--build-dir", str(fresh), "--cached",
                 "--cache-dir", str(cache), *overrides(parameters)],
                work, os.environ,
            )  # fmt: skip
            make_movable(fresh / "template.yaml")
            fresh.rename(known)
            for old in sorted(kept.glob("*/"), key=lambda path: path.stat().st_mtime)[:-KEPT_BUILDS]:
                shutil.rmtree(old)
        shutil.rmtree(built, ignore_errors=True)
        shutil.copytree(known, built, symlinks=True)
    return built / "template.yaml"


def make_movable(template: Path) -> None:
    """So that the built template can be copied anywhere, and deployed fast: what lies outside of its folder is named in
    full, and equal functions share one archive. sam copies what it built for each of them, and packs every folder."""
    text, here = yaml_parse(template.read_text()), template.parent
    first: dict[str, str] = {}
    for body in text.get("Resources", {}).values():
        properties = body.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            folder = properties.get(name)
            if not isinstance(folder, str) or not (here / folder).is_dir():
                continue
            if not (here / folder).resolve().is_relative_to(here.resolve()):
                properties[name] = str((here / folder).resolve())
                continue
            archive = first.setdefault(digest_of(here / folder), f"{folder}.zip")
            if archive == f"{folder}.zip":
                pack(here / folder, here / archive)
            properties[name] = archive
            shutil.rmtree(here / folder)
    template.write_text(yaml_dump(text))


def files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def digest_of(folder: Path) -> str:
    """Of names, modes and contents of all its files."""
    found = hashlib.sha256()
    for path in files_of(folder):
        body = path.read_bytes()
        found.update(f"{path.relative_to(folder)} {path.stat().st_mode} {len(body)}\n".encode())
        found.update(body)
    return found.hexdigest()


def pack(folder: Path, archive: Path) -> None:
    """The same files make the same archive, so that a deploy of unchanged code changes no function."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files_of(folder):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)))  # of 1980, which is as early as it goes
            entry.external_attr = path.stat().st_mode << 16
            packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def fingerprint(template: Path, parameters: Mapping[str, str]) -> str:
    """Of all that a build depends on: Python, the template, its runtime, and every file that it packs."""
    text = template.read_text()
    runtimes = {name: parameters.get(name) for name in re.findall(r"Runtime: *!Ref (\w+)", text)}
    found = hashlib.sha256(repr((sys.version, sys.prefix, sorted(runtimes.items()), text)).encode())
    for folder in sorted(set(re.findall(r"(?:CodeUri|ContentUri): *([^\s#]+)", text))):
        found.update(f"{folder} {digest_of(template.parent / folder)}".encode())
    return found.hexdigest()[:16]
