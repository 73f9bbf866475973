"""A process whose terminal the console driver keeps: run by test_terminal.py on a pty."""

from __future__ import annotations

import os
import signal
import sys

import trio

from services.drivers.console.api import WaitResize
from services.drivers.console.service import ConsoleService


async def main(how: str) -> None:
    service = ConsoleService()
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            os.write(1, b"READY %d\n" % os.getpid())
            if how == "resize":
                size = await service.wait_resize(WaitResize())
                os.write(1, b"SIZE %d %d\n" % size)
            if how == "raise":
                raise RuntimeError("an accident")
            if how == "exit":
                sys.exit(4)
            if how in ("wait", "resize"):
                async for _ in signals:
                    break
        nursery.cancel_scope.cancel()
    service.close()


def shell() -> None:
    """Run ourselves as a shell with job control does: a process group in the foreground."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        os.tcsetpgrp(0, os.getpid())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
        trio.run(main, "wait")
        sys.exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if sys.argv[1] == "shell":
    shell()
trio.run(main, sys.argv[1])
