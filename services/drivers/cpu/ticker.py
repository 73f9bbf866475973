"""The core's clock interrupt: a host thread that preempts who has run for a whole slice."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.drivers.cpu.engine import UnicornCore


class Ticker:
    """Stops a core which has run for a whole slice without leaving."""

    def __init__(self, core: UnicornCore, slice_s: float) -> None:
        self._core = core
        self._slice_s = slice_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="hardtack-ticker", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._done.set()
        self._thread.join()

    def _tick(self) -> None:
        core, last = self._core, -1
        while not self._done.wait(self._slice_s):
            if core.running and core.epoch == last:
                core.preempt()
            last = core.epoch
