"""What does not yet do what Linux does, each with the reason; strict: a closed gap shows."""

from __future__ import annotations

import pytest

GAPS = {
    "python-unix-sockets": "sockets other than pairs await the network service",
    "python-asyncio": "sockets other than pairs await the network service",
    "int-page-fault": "the emulator delivers INT 14 as vector 14, not as a protection fault",
    "bad-pointers": "calls of the network service, and sched_rr_get_interval, are ENOSYS",
}


def marks(name: str) -> list[pytest.MarkDecorator]:
    """The xfail mark of a known gap, or none."""
    return [pytest.mark.xfail(reason=GAPS[name], strict=True)] if name in GAPS else []
