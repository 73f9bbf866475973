"""From a host thread into the kernel's loop, with a time limit; the way back is the reply.

What is not begun in time is withdrawn: it will not happen later. What is begun and does not end is
told so.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from boot.control.wire import ControlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
PATIENCE_S = 5.0


class _Job:
    """One call on its way into the loop."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.begun = self.withdrawn = False
        self.result: Any = None
        self.error: BaseException | None = None

    def begin(self) -> bool:
        """The loop has come to it; False: too late."""
        with self.lock:
            self.begun = not self.withdrawn
            return self.begun


class Loop:
    """The kernel's loop, as other threads reach it; made in the loop, `nursery` is for `run`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._nursery = nursery

    def call(self, work: Callable[[], Awaitable[T]], patience_s: float = PATIENCE_S) -> T:
        """Have `work` done in the loop; its result. ControlError: the kernel does not answer."""
        job = _Job()

        async def run() -> None:
            try:
                job.result = await work()
            except trio.Cancelled:
                job.error = ControlError("the kernel is stopping")
                raise
            except Exception as error:
                job.error = error
            finally:
                job.done.set()

        def begin() -> None:
            if job.begin():
                self._nursery.start_soon(run)

        try:
            self._token.run_sync_soon(begin)
        except trio.RunFinishedError:
            raise ControlError("the kernel has stopped") from None
        if not job.done.wait(patience_s):
            with job.lock:
                job.withdrawn = not job.begun
            raise ControlError(
                f"the kernel does not answer within {patience_s:g} s; "
                + ("nothing was done" if job.withdrawn else "what was asked has begun")
                + " (hardtack dump shows what it does)"
            )
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def answers_in_s(self, patience_s: float = 0.5) -> float | None:
        """How long the loop takes to come to something new, in seconds; None: longer."""
        done, began_s = threading.Event(), time.monotonic()
        try:
            self._token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            return None
        return time.monotonic() - began_s if done.wait(patience_s) else None
