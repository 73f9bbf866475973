"""Open files of a terminal: reading by lines or VMIN and VTIME, writing, poll (termios(3))."""

from __future__ import annotations

from errno import EAGAIN, EIO, ENOTTY, ESPIPE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import (
    O_NONBLOCK,
    POLLERR,
    POLLHUP,
    SIGTTIN,
    SIGTTOU,
)
from services.proc.descriptors import drop
from services.proc.files.anon import gather, scatter, total, wait_holding
from services.proc.files.device import DeviceFile
from services.proc.park import Interrupted
from services.proc.tty import jobs
from services.proc.tty import termios as t
from services.proc.tty.ioctls import COMMANDS, TIOCSPGRP
from services.proc.tty.terminal import READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.drivers.ram.api import Extent
    from services.proc.kernel import Kernel
    from services.proc.task import Thread
    from services.proc.tty.terminal import Terminal

TENTH_NS = 100_000_000
"""VTIME's unit."""


class TerminalFile(DeviceFile):
    """A terminal as the programs on it have it open."""

    __slots__ = ("_epoch", "terminal")
    kind = "terminal"
    seekable = False
    is_master = False

    def __init__(self, kernel: Kernel, node: int, flags: int, terminal: Terminal) -> None:
        super().__init__(kernel, node, flags)
        self.terminal = terminal
        self._epoch = terminal.epoch
        self.queue = terminal.queue
        if not self.is_master:
            terminal.opens += 1

    @property
    def hung(self) -> bool:
        """The terminal was hung up since this was opened."""
        return self._epoch != self.terminal.epoch

    async def seek(self, thread: Thread, offset: int, whence: int) -> int:
        """lseek(2): a terminal has no offset."""
        raise PosixError(ESPIPE)

    # Reading ------------------------------------------------------------------------------------

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): a line, or what VMIN and VTIME say; 0 at end of file and after a hang-up."""
        if self.hung:
            return 0
        terminal = self.terminal
        jobs.check_background(thread, terminal, SIGTTIN)
        count = total(extents)
        if not count:
            return 0
        available = terminal.discipline.available(self._wanted(count))
        if not available and not await self._wait(thread, count):
            return 0
        data = terminal.discipline.take(count)
        scatter(thread.kernel.ram.bytes, extents, data)
        if terminal.backlog:
            terminal.digest()
            if terminal.out:
                await terminal.push(thread)
        return len(data)

    def _wanted(self, count: int) -> int:
        return min(max(self.terminal.discipline.termios.cc[t.VMIN], 1), count)

    async def _wait(self, thread: Thread, count: int) -> bool:
        """Until a read would get what it wants, or a timer runs out; False: it gets nothing."""
        discipline, timers = self.terminal.discipline, thread.kernel.timers
        deadline: int | None = None
        started, seen = False, -1
        while not self.hung:
            if discipline.available(self._wanted(count)):
                return True
            have = 0 if discipline.canonical else discipline.pending
            if self.flags & O_NONBLOCK:
                if have:
                    return True
                raise PosixError(EAGAIN)
            cc = discipline.termios.cc
            if discipline.canonical:
                deadline = None
            elif cc[t.VMIN]:  # the time between two bytes, once there is one
                if cc[t.VTIME] and have and have != seen:
                    deadline = await timers.now() + cc[t.VTIME] * TENTH_NS
            elif not cc[t.VTIME]:
                return False
            elif not started:  # the time for the first byte
                deadline = await timers.now() + cc[t.VTIME] * TENTH_NS
            started, seen = True, have
            news = self._news(count, have)
            if not await wait_holding(thread, self, self.terminal.queue, news, deadline):
                return not discipline.canonical and discipline.pending > 0
        return False

    def _news(self, count: int, have: int) -> Callable[[], bool]:
        """Whether a read that waits with `have` bytes in the buffer has to look again."""
        discipline = self.terminal.discipline
        settings = discipline.termios

        def news() -> bool:
            return (
                self.hung
                or discipline.termios is not settings
                or discipline.available(self._wanted(count))
                or (not discipline.canonical and discipline.pending != have)
            )

        return news

    # Writing ------------------------------------------------------------------------------------

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2): through the line discipline to the wire; EIO after a hang-up."""
        if self.hung:
            raise PosixError(EIO)
        terminal = self.terminal
        if terminal.discipline.termios.lflag & t.TOSTOP:
            jobs.check_background(thread, terminal, SIGTTOU)
        data = bytes(gather(thread.kernel.ram.bytes, extents, 0, total(extents)))
        room = terminal.room()
        if len(data) <= room:
            terminal.emit(terminal.discipline.output.process(data))
            await self._push(thread)
            return len(data)
        self.holders += 1
        try:
            return await self._write_parts(thread, data)
        finally:
            await drop(self, thread)

    async def _write_parts(self, thread: Thread, data: bytes) -> int:
        terminal, done = self.terminal, 0
        while done < len(data):
            if self.hung or terminal.gone:
                break
            room = terminal.room()
            if room > 0:
                piece = data[done : done + room]
                terminal.emit(terminal.discipline.output.process(piece))
                done += len(piece)
                await self._push(thread)
            elif self.flags & O_NONBLOCK:
                if not done:
                    raise PosixError(EAGAIN)
                return done
            else:
                try:
                    await thread.wait(terminal.queue)
                except Interrupted:
                    if not done:
                        raise
                    return done
        if not done and data:
            raise PosixError(EIO)
        return done

    async def _push(self, thread: Thread) -> None:
        if self.flags & O_NONBLOCK:
            self.terminal.carry()
        else:
            await self.terminal.push(thread)

    # The rest -----------------------------------------------------------------------------------

    def poll(self) -> int:
        """poll(2): VMIN counts where VTIME is 0."""
        terminal = self.terminal
        if self.hung:
            return READABLE | WRITABLE | POLLERR | POLLHUP
        ready = READABLE if terminal.discipline.available(terminal.least()) else 0
        if terminal.room() > 0:
            ready |= WRITABLE
        return ready

    def waiting(self) -> int:
        """FIONREAD: bytes to be read."""
        return self.terminal.discipline.pending

    def flush(self, input_too: bool, output_too: bool) -> None:
        """TCFLSH."""
        if input_too:
            self.terminal.flush_input()
        if output_too:
            self.terminal.discard_output()

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """tty_ioctl(4), from the table in `ioctls`."""
        if self.hung:
            raise PosixError(ENOTTY if command == TIOCSPGRP else EIO)
        serve = COMMANDS.get(command)
        if serve is None:
            raise PosixError(ENOTTY)
        return await serve(self, thread, argument)

    async def closed(self, thread: Thread | None) -> None:
        """One user less."""
        self.terminal.opens -= 1
        await self.terminal.last_words()
        await super().closed(thread)
