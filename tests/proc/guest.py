"""Processes without a processor: real vm, fs, clock and system calls, and a virtual clock.

A test is the program. It puts bytes into its own memory, makes system calls by name through the
table, and gets what RAX would hold; a signal that interrupts a call shows as `Interrupted`, for
the trap decides between EINTR and a restart.
"""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import trio

from bus.admission import Admission
from bus.core import Bus
from bus.errors import PosixError
from services.drivers.clock.service import ClockService
from services.drivers.hosttree.service import HostTreeService
from services.drivers.ram.api import Ram
from services.fs.api import RootNode
from services.fs.service import FsService
from services.net.api import Board
from services.proc import table
from services.proc.descriptors import DescriptorTable, drop
from services.proc.kernel import Kernel
from services.proc.space import AddressSpace
from services.proc.task import Directories, Process, Thread
from services.vm.api import CreateSpace, Map
from services.vm.service import VmService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RAM_BYTES = 16 << 20
ARENA, ARENA_BYTES = 0x10000, 1 << 20
DRIVERS = ("clock", "entropy", "console", "hosttree", "vm")
U64 = 0xFFFF_FFFF_FFFF_FFFF


def virtual_ns() -> int:
    """Trio's clock, which tests move."""
    return int(trio.current_time() * 1e9)


class Guest:
    """One process with one thread, and its memory."""

    def __init__(self, machine: GuestMachine, process: Process, space: AddressSpace) -> None:
        self.machine = machine
        self.kernel = machine.kernel
        self.process = process
        process.space = space
        process.credentials = process.credentials.changed()
        self.thread = Thread(machine.kernel, process, process.pid, SimpleNamespace())  # type: ignore[arg-type]
        process.threads[process.pid] = self.thread
        machine.kernel.processes[process.pid] = process
        self._next = ARENA

    def room(self, length_bytes: int) -> int:
        """An address with that much room behind it."""
        at, self._next = self._next, self._next + (length_bytes + 15 & ~15)
        assert self._next <= ARENA + ARENA_BYTES
        return at

    async def put(self, data: bytes) -> int:
        """Where `data` now is in memory."""
        at = self.room(len(data))
        await self.thread.copyout(at, data)
        return at

    async def get(self, vaddr: int, length_bytes: int) -> bytes:
        return await self.thread.copyin(vaddr, length_bytes)

    async def call(self, name: str, *arguments: int) -> int:
        """A system call: its result, negative errnos as they are."""
        row = self.machine.calls[name]
        words = [argument & U64 for argument in arguments] + [0] * (row.arity - len(arguments))
        try:
            result: Any = row.handler(self.thread, *words)
            return await result if row.blocking else result  # type: ignore[no-any-return]
        except PosixError as error:
            return -error.errno

    async def read(self, fd: int, count: int) -> bytes | int:
        """read(2): the bytes, or a negative errno."""
        at = self._next
        done = await self.call("read", fd, at, count)
        return await self.get(at, done) if done >= 0 else done

    async def write(self, fd: int, data: bytes) -> int:
        at = self._next
        await self.thread.copyout(at, data)
        return await self.call("write", fd, at, len(data))

    async def pipe(self, flags: int = 0) -> tuple[int, int]:
        """pipe2(2)."""
        return await self.pair("pipe2", flags)

    async def socketpair(self, kind: int = 1) -> tuple[int, int]:
        """socketpair(2) of AF_UNIX."""
        at = self.room(8)
        assert await self.call("socketpair", 1, kind, 0, at) == 0
        first, second = struct.unpack("<ii", await self.get(at, 8))
        return first, second

    async def pair(self, name: str, *rest: int) -> tuple[int, int]:
        at = self.room(8)
        assert await self.call(name, at, *rest) == 0
        first, second = struct.unpack("<ii", await self.get(at, 8))
        return first, second

    async def poll(self, *wanted: tuple[int, int], timeout_ms: int = 0) -> list[int] | int:
        """poll(2): revents of each (fd, events), or a negative errno."""
        at = await self.put(b"".join(struct.pack("<iHH", fd, events, 0) for fd, events in wanted))
        done = await self.call("poll", at, len(wanted), timeout_ms)
        if done < 0:
            return done
        image = await self.get(at, 8 * len(wanted))
        return [answer for _, _, answer in struct.iter_unpack("<iHH", image)]

    async def close_all(self) -> None:
        descriptors = self.process.descriptors
        assert descriptors is not None
        for fd in sorted(descriptors.slots):
            await drop(descriptors.remove(fd), self.thread)


class GuestMachine:
    """Everything below proc but a processor."""

    def __init__(self) -> None:
        self.ram = Ram(RAM_BYTES)
        ranks = {
            "fs": 2,
            "net": 2,
            "script": 2,
            "proc": 3,
            "vm": 1,
            **dict.fromkeys(DRIVERS[:4], 0),
        }
        fs_peers = frozenset(("vm", "hosttree", "clock"))
        self.bus = Bus(
            ranks, {"fs": fs_peers, "proc": frozenset(("fs", "net", "script", *DRIVERS))}
        )
        clock = ClockService(
            realtime_ns=virtual_ns, monotonic_ns=virtual_ns, boottime_ns=virtual_ns
        )
        vm, host, ticks = (self.bus.port("fs", name) for name in ("vm", "hosttree", "clock"))
        self.vm = VmService(self.ram, 0)
        self.fs = FsService(self.ram, vm, host, ticks)
        self.bus.serve("clock", clock.handlers)
        self.bus.serve("vm", self.vm.handlers)
        self.bus.serve("hosttree", HostTreeService(self.ram).handlers)
        self.bus.serve("fs", self.fs.handlers)
        core: Any = SimpleNamespace(forget=lambda context: None)
        self.kernel = Kernel(self.bus, self.ram, core, Admission(1 << 30), Board())
        self.calls = {row.name: row for row in table.build() if row is not None}
        self.root = 0

    async def guest(self, parent: Guest | None = None) -> Guest:
        """A process; with `parent`, one that shares its open files as after fork(2)."""
        kernel = self.kernel
        made = await kernel.vm.call(CreateSpace())
        await kernel.vm.call(Map(made.space, ARENA, ARENA_BYTES, 3, 0x32))
        process = Process(kernel, kernel.new_pid() + 1, parent.process if parent else None)
        process.directories = Directories(self.root, self.root, 0o022)
        if parent is None:
            process.descriptors = DescriptorTable()
        else:
            assert parent.process.descriptors is not None
            process.descriptors = parent.process.descriptors.copy()
        space = AddressSpace(self.ram, kernel.vm, kernel.fs, made.space, made.root_paddr)
        return Guest(self, process, space)


@asynccontextmanager
async def running_machine() -> AsyncIterator[GuestMachine]:
    """A machine with its timers served; every description must be closed at the end."""
    machine = GuestMachine()
    await machine.fs.start()
    machine.root = await machine.kernel.fs.call(RootNode())
    async with trio.open_nursery() as nursery:
        machine.kernel.nursery = nursery
        nursery.start_soon(machine.kernel.timers.serve)
        yield machine
        for process in list(machine.kernel.processes.values()):
            assert process.descriptors is not None
            for fd in sorted(process.descriptors.slots):
                await drop(process.descriptors.remove(fd), None)
        assert not machine.kernel.extra.get("fifos"), "a FIFO was left behind"
        nursery.cancel_scope.cancel()
