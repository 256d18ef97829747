"""A store that is folders on this machine: for training alone, without AWS. The same promises as S3Store's."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import Failed
from trainer.store import PART_BYTES

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def etag_of(path: Path) -> str:
    """Changes when the file does."""
    return str(path.stat().st_mtime_ns)


class FolderStore:
    def __init__(self, homes: dict[str, Path]) -> None:
        """`homes`: beginning of a key -> the folder (or, for a whole key, the file) that it stands for; the longest
        beginning that fits counts."""
        self._homes = dict(sorted(homes.items(), key=lambda home: -len(home[0])))

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as missing:
            raise KeyError(key) from missing

    def get_json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def download(self, key: str, path: Path) -> None:
        try:
            shutil.copyfile(self._path(key), path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as missing:
            raise KeyError(key) from missing

    def put(self, key: str, body: bytes, content_type: str = "") -> None:  # noqa: ARG002  a folder has no types
        with self._appearing(key) as part:
            part.write_bytes(body)

    def put_json(self, key: str, value: object) -> None:
        self.put(key, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False).encode())

    def upload(self, key: str, path: Path) -> None:
        with self._appearing(key) as part:
            shutil.copyfile(path, part)

    def keys(self, prefix: str) -> list[str]:
        begin, home = self._home(prefix)
        # os.walk, not rglob, which fails on a folder that another thread deletes meanwhile.
        paths = (Path(folder, name) for folder, _, names in os.walk(home) for name in names)
        found = (begin + path.relative_to(home).as_posix() for path in paths if _is_whole(path))
        return sorted(key for key in found if key.startswith(prefix))

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def open_exact(self, key: str, version_id: str | None, etag: str, size: int) -> io.BufferedReader:  # noqa: ARG002
        """The file, unpacked where its name ends with .gz. Raises Failed when it has changed."""
        path = self._path(key)
        if not path.is_file() or etag_of(path) != etag or path.stat().st_size != size:
            raise Failed(f"{path} has changed since this training began: start it again.")
        return io.BufferedReader(_Unpacked(path), PART_BYTES)

    def _home(self, key: str) -> tuple[str, Path]:
        return next((begin, home) for begin, home in self._homes.items() if key.startswith(begin))

    def _path(self, key: str) -> Path:
        begin, home = self._home(key)
        return home / key[len(begin) :] if key != begin else home

    def _appearing(self, key: str) -> _Appearing:
        return _Appearing(self._path(key))


class _Appearing:
    """A file that is written beside its place and moved there when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> Path:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self._part

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.suffix != ".part"


class _Unpacked(io.RawIOBase):
    """A file, unpacked if it is a .gz; `tell` says how much of the file itself was read, for the progress."""

    def __init__(self, path: Path) -> None:
        self._name = path
        self._file = path.open("rb")
        self._content = gzip.GzipFile(fileobj=self._file) if path.suffix == ".gz" else self._file

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            return self._content.readinto(buffer)
        except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
            raise Failed(f"{self._name} is not a whole gzip file ({fault}): pack it again.") from fault

    def close(self) -> None:
        self._file.close()
        super().close()
