"""One health check of a load balancer: GET a path, and only the expected status is healthy."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    port: int
    path: str
    statuses: frozenset[int] = frozenset({200})


async def ask(check: Check, address: str, timeout: float) -> str | None:
    """None when healthy, else what was seen instead, for people."""
    try:
        async with asyncio.timeout(timeout):
            status = await get(address, check.port, check.path)
    except TimeoutError:
        return f"no answer to GET {check.path} on port {check.port} within {timeout:g} s"
    except (OSError, ValueError) as fault:
        return f"GET {check.path} on port {check.port}: {getattr(fault, 'strerror', None) or fault}"
    return None if status in check.statuses else f"GET {check.path} on port {check.port} answered {status}"


async def get(address: str, port: int, path: str) -> int:
    """The status of the answer; its body is not waited for."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        lines = (f"GET {path} HTTP/1.1", f"Host: {address}", "User-Agent: ELB-HealthChecker/2.0", "Connection: close")
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        first = (await reader.readline()).split(b" ", 2)
        if len(first) < 2 or not first[0].startswith(b"HTTP/"):
            raise ValueError("the connection was closed without an HTTP answer")
        return int(first[1])
    finally:
        writer.close()


def statuses(matcher: str) -> frozenset[int]:
    """The target group's matcher: `200`, `200,202` or `200-299`."""
    found: set[int] = set()
    for part in matcher.split(","):
        low, _, high = part.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)
