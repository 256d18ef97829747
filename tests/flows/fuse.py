"""How a function is made to die at one of its port calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar, cast

Port = TypeVar("Port")


class Killed(BaseException):
    """The function died here: nothing in it may catch that."""


@dataclass
class Fuse:
    """Kills the function at its n-th port call: before the call has effect, or after it had."""

    at: int | None = None
    after: bool = False
    calls: list[str] = field(default_factory=list)

    def guard(self, port: Port) -> Port:
        return cast("Port", _Guarded(port, self))

    def burn(self, name: str, call: Callable[[], Any]) -> Any:
        self.calls.append(name)
        now = self.at == len(self.calls)
        if now and not self.after:
            raise Killed(f"before {name}")
        result = call()
        if now:
            raise Killed(f"after {name}")
        return result


class _Guarded:
    def __init__(self, port: object, fuse: Fuse) -> None:
        self._port, self._fuse = port, fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not callable(method):
            return method

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._fuse.burn(f"{type(self._port).__name__}.{name}", lambda: method(*args, **kwargs))

        return call
