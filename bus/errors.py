"""The three failure planes of a call on the bus.

1. A program's mistake is an errno: `PosixError`, part of the reply, declared by the request.
2. A malformed or forbidden message is a fault on its *sender*: `MalformedRequest`.
3. A broken invariant of our own is `KernelBug`: it crashes the service that found it, to its
   supervisor, and never the kernel.

`ServiceUnavailable` says that the callee is dead, failed, or did not answer in time; what then
happens follows from the request's `idempotent`.
"""

from __future__ import annotations

import errno
import os


class PosixError(Exception):
    """A program's mistake, told as a positive errno number (errno(3))."""

    __slots__ = ("errno",)

    def __init__(self, number: int) -> None:
        self.errno = number

    def __str__(self) -> str:
        name = errno.errorcode.get(self.errno, str(self.errno))
        return f"{name} ({os.strerror(self.errno)})"

    def __repr__(self) -> str:
        return f"PosixError({errno.errorcode.get(self.errno, self.errno)})"


class MalformedRequest(Exception):
    """The sender broke the callee's contract: unknown request, wrong type, value out of range."""

    sender: str | None = None
    """Who sent it; the bus fills it in on the way back."""


class KernelBug(Exception):
    """One of our own invariants is broken; the service that raises it is restarted."""


class ServiceUnavailable(Exception):
    """The callee is not being served, broke down over this call, or its deadline passed."""
