"""The entropy driver: the only source of randomness in the kernel; seeded with `--seed`."""

from __future__ import annotations

from bus.message import Request, request


@request("entropy")
class Draw(Request[bytes]):
    """`count` random bytes, fit for keys unless the kernel was booted with a seed."""

    count: int
