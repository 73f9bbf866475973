"""The host's signals, from the first moment to the last.

Before a program runs, SIGINT, SIGTERM, SIGHUP and SIGQUIT end the start-up, quietly, with status
128 + n. Afterwards they are the program's:

- SIGINT (Ctrl-C without a terminal; with one it is a byte that the guest's line discipline
  turns into a signal): to the guest's foreground program; a second one within 2 s kills all.
- SIGTERM, SIGHUP, SIGQUIT: the guest's program gets the same signal and `GRACE_S` to obey; then
  everything is killed. A second one does not wait.

Once the program has ended they change nothing: the kernel is stopping already.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from boot.entry import WATCHED

if TYPE_CHECKING:
    from boot.assembly import Programs

INTERRUPT_WINDOW_S = 2.0
GRACE_S = 8.0
"""Less than the 10 s that `docker stop` grants."""


class Relay:
    """Run `run` in a nursery around the whole kernel, and the kernel inside `booting`."""

    def __init__(self) -> None:
        self.booting = trio.CancelScope()
        self.ended_by: int | None = None
        """The signal that ended the start-up."""
        self._programs: Programs | None = None
        self._over = False
        self._interrupted_at = self._ending_at = -float("inf")

    def begin(self, programs: Programs) -> None:
        """From now on there is somebody to pass signals on to."""
        self._programs = programs

    def end(self) -> None:
        """The program has ended."""
        self._over = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take signals until cancelled."""
        # What our starter ignores (nohup; a job of a shell in the background) is not ours to see.
        watched = [number for number in WATCHED if signal.getsignal(number) != signal.SIG_IGN]
        with trio.open_signal_receiver(*watched) as signals:
            task_status.started()
            async with trio.open_nursery() as nursery:
                async for number in signals:
                    if not self._over:
                        self._take(number, nursery)

    def _take(self, number: int, nursery: trio.Nursery) -> None:
        programs, now = self._programs, trio.current_time()
        if programs is None:
            self._give_up(number)
            return
        if number == signal.SIGINT:
            again = now - self._interrupted_at <= INTERRUPT_WINDOW_S
            self._interrupted_at = now
        else:
            again, self._ending_at = self._ending_at >= 0, now
            nursery.start_soon(_kill_later, programs)
        if again:
            programs.kill_all()
        elif not programs.signal_program(number):
            self._give_up(number)

    def _give_up(self, number: int) -> None:
        self.ended_by = number
        self.booting.cancel()


async def _kill_later(programs: Programs) -> None:
    await trio.sleep(GRACE_S)
    programs.kill_all()
