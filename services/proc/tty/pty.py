"""Pseudoterminals (pty(7), pts(4)): a terminal whose wire is a file, the master.

/dev/ptmx makes a pair; the slave's device node appears in /dev/pts, owned by whoever opened the
master, and goes when the master is closed. The slave is hung up then; the master in turn gets EIO
from reading when the last file of a slave that was open is closed.
"""

from __future__ import annotations

import contextlib
import os
from errno import EAGAIN, EIO, ENOSPC, ENOTTY
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import Cred, MakeNode, Opened, Release, Resolve, SetAttr, Unlink
from services.proc.abi import O_CLOEXEC, O_NONBLOCK, O_RDWR, POLLHUP, POLLPRI, S_IFCHR
from services.proc.descriptors import drop
from services.proc.files.anon import gather, scatter, total, wait_holding
from services.proc.files.device import DeviceFile
from services.proc.files.root import whole_tree
from services.proc.park import Interrupted, WaitQueue
from services.proc.tty import packet
from services.proc.tty.file import TerminalFile
from services.proc.tty.ioctls import COMMANDS, Serve, get_int, put_int
from services.proc.tty.packet import Packets
from services.proc.tty.terminal import BACKLOG_BYTES, READABLE, WRITABLE, Terminal

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.kernel import Kernel
    from services.proc.task import Thread
    from services.proc.tty.termios import Termios

SLAVE_MAJOR = 136
SLAVE_MODE = S_IFCHR | 0o620
TTY_GID = 5
PTY_MAX = 4096
ROOT = Cred(0, 0)


class Pty(Terminal):
    """The slave side's terminal; `master_queue` is where readers of the master wait."""

    def __init__(self, kernel: Kernel, index: int) -> None:
        super().__init__(kernel, os.makedev(SLAVE_MAJOR, index), b"/dev/pts/%d" % index)
        self.index = index
        self.locked = True
        self.was_open = False
        self.master_queue = WaitQueue()
        self.packets = Packets()

    def _tell(self, bits: int) -> None:
        if self.packets.tell(bits):
            self.carry()

    def flush_input(self) -> None:
        """Forget what was typed; a master in packet mode is told."""
        super().flush_input()
        self._tell(packet.FLUSHREAD)

    def discard_output(self) -> None:
        """Forget what the master has not read; it is told, in packet mode."""
        super().discard_output()
        self._tell(packet.FLUSHWRITE)

    def note_flow(self) -> None:
        """Output may have been stopped or started."""
        if self.packets.output_is(self.discipline.stopped or self.held):
            self.carry()

    def configure(self, termios: Termios) -> None:
        """tcsetattr(3)."""
        if self.packets.settings(self.discipline.termios, termios):
            self.carry()
        super().configure(termios)

    @property
    def abandoned(self) -> bool:
        """Every file of the slave was closed."""
        return self.was_open and not self.opens

    def carry(self) -> None:
        """Tell who reads the master."""
        self.master_queue.wake(READABLE)

    async def last_words(self) -> None:
        """A file of the slave was closed."""
        if not self.opens:
            self.master_queue.wake(READABLE | POLLHUP)
            if self.gone:
                self.kernel.terminals.pop(self.rdev, None)


class MasterFile(TerminalFile):
    """The master side: its reads are the slave's output, its writes the slave's keys."""

    __slots__ = ("pty",)
    kind = "ptmx"
    is_master = True

    def __init__(self, kernel: Kernel, node: int, flags: int, pty: Pty) -> None:
        super().__init__(kernel, node, flags, pty)
        self.pty = pty
        self.queue = pty.master_queue

    @property
    def hung(self) -> bool:
        """The master itself is never hung up."""
        return False

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): what the slave wrote and echoed; EIO once nobody has the slave open."""
        pty = self.pty
        count = total(extents)
        if not count:
            return 0
        packets = pty.packets
        if not pty.out and not packets.status:
            if not pty.abandoned and self.flags & O_NONBLOCK:
                raise PosixError(EAGAIN)
            await wait_holding(
                thread,
                self,
                pty.master_queue,
                lambda: pty.out or packets.status or pty.abandoned,
            )
        data = packets.take()
        if not data:
            if not pty.out:
                raise PosixError(EIO)
            data = packet.DATA if packets.on else b""
            rest = count - len(data)
            data += pty.out[:rest]
            del pty.out[:rest]
        scatter(thread.kernel.ram.bytes, extents, data)
        pty.drained()
        return len(data)

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2): typed at the slave; waits while nobody there reads."""
        pty, done = self.pty, 0
        data = bytes(gather(thread.kernel.ram.bytes, extents, 0, total(extents)))
        self.holders += 1
        try:
            while True:
                if pty.abandoned:
                    raise PosixError(EIO)
                done += pty.feed(data[done:])
                if done == len(data):
                    return done
                if self.flags & O_NONBLOCK:
                    if not done:
                        raise PosixError(EAGAIN)
                    return done
                await thread.wait(pty.roomy)
        except (Interrupted, PosixError):
            if not done:
                raise
            return done
        finally:
            await drop(self, thread)

    def poll(self) -> int:
        """poll(2)."""
        pty = self.pty
        ready = READABLE if pty.out else 0
        if pty.packets.status:
            ready |= READABLE | POLLPRI
        if pty.abandoned:
            ready |= POLLHUP
        if len(pty.backlog) <= BACKLOG_BYTES // 2:  # room that is worth a blocking write
            ready |= WRITABLE
        return ready

    def waiting(self) -> int:
        """FIONREAD."""
        return len(self.pty.out)

    def flush(self, input_too: bool, output_too: bool) -> None:
        """TCFLSH: the master's input is the slave's output."""
        if input_too:
            self.pty.discard_output()
        if output_too:
            self.pty.flush_input()

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """ioctl_tty(2): the master's own commands, then those of all terminals."""
        serve = MASTER_COMMANDS.get(command) or COMMANDS.get(command)
        if serve is None:
            raise PosixError(ENOTTY)
        return await serve(self, thread, argument)

    async def closed(self, thread: Thread | None) -> None:
        """The pair comes to its end: hang the slave up, take its name away."""
        pty = self.pty
        pty.gone = True
        pty.hang_up()
        if not pty.opens:
            pty.kernel.terminals.pop(pty.rdev, None)
        await remove_name(pty)
        await DeviceFile.closed(self, thread)


# The names in /dev/pts --------------------------------------------------------------------------


async def resolve(pty: Pty) -> int:
    """A node of the slave's device, whose reference is the caller's."""
    async with whole_tree(pty.kernel) as at:
        found = await pty.kernel.fs.call(Resolve(at, pty.name, ROOT))
    if type(found) is not Opened:
        raise PosixError(EIO)
    return found.node


async def make_name(pty: Pty, owner: Cred) -> None:
    """The slave's device node."""
    fs = pty.kernel.fs
    async with whole_tree(pty.kernel) as at:
        await fs.call(MakeNode(at, pty.name, SLAVE_MODE, pty.rdev, ROOT))
    node = await resolve(pty)
    try:
        await fs.call(SetAttr(node, ROOT, uid=owner.uid, gid=TTY_GID))
    finally:
        await fs.call(Release(node))


async def remove_name(pty: Pty) -> None:
    """The master is closed."""
    async with whole_tree(pty.kernel) as at:
        with contextlib.suppress(PosixError):  # the program was quicker
            await pty.kernel.fs.call(Unlink(at, pty.name, False, ROOT))


async def open_ptmx(thread: Thread, node: int, flags: int) -> MasterFile:
    """open(2) of /dev/ptmx: a new pair with the lowest number that is free."""
    made = await new_pair(thread.kernel, thread.process.credentials.cred)
    return MasterFile(thread.kernel, node, flags, made)


async def new_pair(kernel: Kernel, owner: Cred) -> Pty:
    """A terminal with the lowest number that is free, and its name. ENOSPC."""
    index = 0
    while os.makedev(SLAVE_MAJOR, index) in kernel.terminals:
        index += 1
    if index >= PTY_MAX:
        raise PosixError(ENOSPC)
    pty = Pty(kernel, index)
    kernel.terminals[pty.rdev] = pty
    try:
        await make_name(pty, owner)
    except BaseException:
        del kernel.terminals[pty.rdev]
        raise
    return pty


def open_slave(thread: Thread, pty: Pty, node: int, flags: int) -> TerminalFile:
    """open(2) of /dev/pts/N: EIO while it is locked, and when its master is gone."""
    if pty.locked or pty.gone:
        raise PosixError(EIO)
    pty.was_open = True
    return TerminalFile(thread.kernel, node, flags, pty)


# The master's ioctls ----------------------------------------------------------------------------


def pty_of(file: TerminalFile) -> Pty:
    """The pair that a master file stands for."""
    assert isinstance(file, MasterFile)
    return file.pty


async def get_number(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGPTN."""
    return await put_int(thread, where, pty_of(file).index)


async def set_lock(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCSPTLCK."""
    pty_of(file).locked = bool(await get_int(thread, where))
    return 0


async def get_lock(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGPTLCK."""
    return await put_int(thread, where, int(pty_of(file).locked))


async def set_packet(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCPKT: packet mode on or off."""
    pty_of(file).packets.switch(bool(await get_int(thread, where)))
    return 0


async def get_packet(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGPKT."""
    return await put_int(thread, where, int(pty_of(file).packets.on))


async def send_signal(file: TerminalFile, thread: Thread, number: int) -> int:
    """TIOCSIG: to the slave's foreground group."""
    pty_of(file).signal(number & 0x3F)
    return 0


async def open_peer(file: TerminalFile, thread: Thread, flags: int) -> int:
    """TIOCGPTPEER: a descriptor of the slave, without its name."""
    from services.proc.tty.open import opened

    pty = pty_of(file)
    node = await resolve(pty)
    try:
        slave = opened(thread, open_slave(thread, pty, node, flags & (O_RDWR | O_NONBLOCK)), flags)
    except BaseException:
        await thread.kernel.fs.call(Release(node))
        raise
    try:
        return thread.install(slave, bool(flags & O_CLOEXEC))
    except PosixError:
        slave.holders += 1
        await drop(slave, thread)
        raise


MASTER_COMMANDS: dict[int, Serve] = {
    0x8004_5430: get_number,
    0x4004_5431: set_lock,
    0x8004_5439: get_lock,
    0x5420: set_packet,
    0x8004_5438: get_packet,
    0x4004_5436: send_signal,
    0x5441: open_peer,
}
