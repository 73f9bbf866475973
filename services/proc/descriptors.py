"""Open file descriptions and the tables of descriptors that refer to them (open(2)).

An `OpenFile` is what dup(2) and fork(2) share: access mode, status flags, offset. It counts the
descriptors (and calls in flight) that hold it; the last one gone closes it. Kinds override the
operations that they have; the defaults answer with the errno that Linux has for them.

Data goes straight between RAM and the file: `extents` are (paddr, length_bytes) runs.
"""

from __future__ import annotations

from errno import EBADF, EINVAL, EMFILE, ENOTDIR, ENOTTY, ESPIPE
from sys import getsizeof
from typing import TYPE_CHECKING, ClassVar, Protocol

from bus.census import EMPTY_DICT, Kind
from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.proc.abi import O_ACCMODE, O_RDONLY, O_WRONLY, POLLIN, POLLOUT

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.fs.api import Attr
    from services.proc.files.sigio import Sigio
    from services.proc.kernel import Kernel
    from services.proc.park import WaitQueue
    from services.proc.task import Thread


class Watcher(Protocol):
    """Who wants to know when a description is closed."""

    def forget(self) -> None:
        """The description is closed."""


ALWAYS_READY = POLLIN | POLLOUT | 0x40 | 0x100
DESCRIPTOR = charge_kind("proc", "descriptor")
DESCRIPTORS = charge_kind("proc", "descriptor table")
SMALL_NUMBERS, NUMBER_BYTES = 257, 32
"""CPython has integers up to 256 once for all; the others take that much each."""


class OpenFile:
    """An open file description; `holders` counts who keeps it open."""

    __slots__ = ("flags", "holders", "offset", "queue", "sigio", "watchers")
    kind = "file"
    heap: ClassVar[Kind] = charge_kind("proc", "open file")
    """What one costs; kinds of another size have their own."""
    seekable = False
    whole = False
    """It moves a buffer as one: EFAULT where a part of it is inaccessible (eventfd(2))."""
    looks = True
    """Its write looks at the data (write(2) to /dev/null does not)."""
    remote = False
    """`poll` repeats what `refresh` learnt: readiness is kept elsewhere, or depends on who asks."""

    parcels: int = 0
    """How many of the holders are messages in flight; counted for sockets only."""

    def __init__(self, flags: int) -> None:
        self.heap.made()
        self.flags = flags
        self.offset = 0
        self.holders = 0
        self.queue: WaitQueue | None = None
        """Woken when `poll` may answer more; None for files that are always ready."""
        self.watchers: dict[Watcher, None] | None = None
        """epoll(7)'s interest in it, which ends with the last descriptor."""
        self.sigio: Sigio | None = None
        """Whom it notifies by signals, once somebody asked for that."""

    def __del__(self) -> None:
        self.heap.freed()

    @property
    def readable(self) -> bool:
        """Opened for reading."""
        return self.flags & O_ACCMODE != O_WRONLY

    @property
    def writable(self) -> bool:
        """Opened for writing."""
        return self.flags & O_ACCMODE != O_RDONLY

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2), or pread(2) where `offset` is given."""
        raise PosixError(EINVAL)

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2), or pwrite(2) where `offset` is given."""
        raise PosixError(EINVAL)

    async def seek(self, thread: Thread, offset: int, whence: int) -> int:
        """lseek(2)."""
        raise PosixError(ESPIPE)

    async def stat(self, thread: Thread) -> Attr:
        """fstat(2)."""
        raise PosixError(EBADF)

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """ioctl(2)."""
        raise PosixError(ENOTTY)

    def poll(self) -> int:
        """What is ready now, as POLL bits."""
        return ALWAYS_READY

    async def refresh(self, thread: Thread) -> None:
        """Where `remote`: learn what `poll` is to answer to `thread`."""

    def watch(self, kernel: Kernel) -> None:
        """Where `remote`: see to it that `queue` is woken, once, when more becomes ready."""

    def node(self) -> int | None:
        """The fs node behind it, if any (for fchdir, mmap, *at, fsync)."""
        return None

    def directory(self) -> int:
        """The node, if it may be the base of a path."""
        raise PosixError(ENOTDIR)

    async def closed(self, thread: Thread | None) -> None:
        """The last holder is gone."""

    async def forsaken(self, thread: Thread | None) -> None:
        """Every holder that is left is a message in flight (unix(7)): see `parcels`."""

    async def path(self) -> bytes:
        """What /proc/PID/fd/N reads as."""
        return f"anon_inode:[{self.kind}]".encode()


class Descriptor:
    """A slot of a table: the description and the close-on-exec flag."""

    __slots__ = ("cloexec", "file")

    def __init__(self, file: OpenFile, cloexec: bool) -> None:
        DESCRIPTOR.made()
        self.file = file
        self.cloexec = cloexec

    def __del__(self) -> None:
        DESCRIPTOR.freed()


class DescriptorTable:
    """A process's descriptors; shared by threads and CLONE_FILES, copied by fork."""

    __slots__ = ("_charged", "_lowest", "slots", "users")

    def __init__(self) -> None:
        DESCRIPTORS.made()
        self._charged = EMPTY_DICT
        self.slots: dict[int, Descriptor] = {}
        self.users = 1
        self._lowest = 0
        """Every number below it is taken."""

    def __del__(self) -> None:
        DESCRIPTORS.grew(EMPTY_DICT - self._charged)
        DESCRIPTORS.freed()

    def _charge(self) -> None:
        now = getsizeof(self.slots) + NUMBER_BYTES * max(len(self.slots) - SMALL_NUMBERS, 0)
        if now != self._charged:
            DESCRIPTORS.grew(now - self._charged)
            self._charged = now

    def get(self, fd: int) -> OpenFile:
        """The description behind `fd` (a raw register), or EBADF."""
        slot = self.slots.get(fd & 0xFFFF_FFFF)
        if slot is None:
            raise PosixError(EBADF)
        return slot.file

    def install(self, file: OpenFile, cloexec: bool, limit: int, lowest: int = 0) -> int:
        """The lowest free number at or above `lowest`; EMFILE at `limit` (RLIMIT_NOFILE)."""
        slots = self.slots
        fd = max(lowest, self._lowest)
        while fd in slots:
            fd += 1
        if fd >= limit:
            raise PosixError(EMFILE)
        if lowest <= self._lowest:
            self._lowest = fd + 1
        slots[fd] = Descriptor(file, cloexec)
        file.holders += 1
        self._charge()
        return fd

    def check_room(self, limit: int) -> None:
        """Whether there is a free number below `limit`; EMFILE."""
        fd = self._lowest
        while fd in self.slots:
            fd += 1
        self._lowest = fd
        if fd >= limit:
            raise PosixError(EMFILE)

    def replace(self, fd: int, file: OpenFile, cloexec: bool) -> OpenFile | None:
        """dup2(2): put `file` at `fd`; replies with the description that was there (to drop)."""
        old = self.slots.get(fd)
        self.slots[fd] = Descriptor(file, cloexec)
        file.holders += 1
        self._charge()
        return old.file if old else None

    def remove(self, fd: int) -> OpenFile:
        """Take `fd` out; the caller drops the description."""
        slot = self.slots.pop(fd, None)
        if slot is None:
            raise PosixError(EBADF)
        self._lowest = min(self._lowest, fd)
        return slot.file

    def copy(self) -> DescriptorTable:
        """fork(2)."""
        twin = DescriptorTable()
        twin._lowest = self._lowest
        for fd, slot in self.slots.items():
            twin.slots[fd] = Descriptor(slot.file, slot.cloexec)
            slot.file.holders += 1
        twin._charge()
        return twin


async def drop(file: OpenFile, thread: Thread | None) -> None:
    """One holder less; the last one closes the description."""
    file.holders -= 1
    if file.holders == 0:
        if file.watchers:
            for watcher in list(file.watchers):
                watcher.forget()
        await file.closed(thread)
    elif file.holders == file.parcels:
        await file.forsaken(thread)
