"""Is the host's terminal the guest's own, whichever of the three streams are on it?

The first part runs the real driver on a host pty, without a processor; the second boots the
kernel on one and uses a shell's job control.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs
import pytest
import trio
import trio.testing

from services.drivers.console.service import ConsoleService
from services.proc.abi import SIGCONT, SIGHUP, SIGINT, SIGWINCH
from services.proc.files.stream import StreamFile
from services.proc.signals.core import bit
from services.proc.tty import attach_console
from services.proc.tty.file import TerminalFile
from tests.proc.guest import Guest, GuestMachine, running_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

REPOSITORY = Path(__file__).resolve().parents[2]


@attrs.frozen
class Desk:
    """A guest whose streams are on a host pty; `master` is the other end."""

    guest: Guest
    master: int

    async def seen(self, count: int) -> bytes:
        """What the host shows."""
        data = b""
        with trio.fail_after(5):
            while len(data) < count:
                await trio.lowlevel.wait_readable(self.master)
                data += os.read(self.master, 65536)
        return data


@pytest.fixture
def host_pty() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("<4H", 30, 90, 0, 0))
    os.set_blocking(master, False)
    yield master, slave
    for fd in (master, slave):
        try:
            os.close(fd)
        except OSError as error:
            assert error.errno == errno.EBADF  # noqa: PT017


@pytest.fixture
async def desk(host_pty: tuple[int, int]) -> AsyncIterator[Desk]:
    master, slave = host_pty
    driver = ConsoleService((slave, slave, slave))
    async with running_machine() as machine, trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        yield await sit_down(machine, driver, master)
        nursery.cancel_scope.cancel()
    driver.close()


async def sit_down(machine: GuestMachine, driver: ConsoleService, master: int) -> Desk:
    machine.bus.serve("console", driver.handlers)
    guest = await machine.guest()
    files = await attach_console(machine.kernel, guest.process)
    assert guest.process.descriptors is not None
    for fd, file in sorted(files.items()):
        guest.process.descriptors.install(file, False, 10, fd)
    return Desk(guest, master)


async def test_keys_arrive_and_are_echoed(desk: Desk) -> None:
    os.write(desk.master, b"abd\x7fc\r")
    with trio.fail_after(5):
        assert await desk.guest.read(0, 100) == b"abc\n"
    assert await desk.seen(9) == b"abd\b \bc\r\n"


async def test_output_is_on_the_host_when_write_returns(desk: Desk) -> None:
    assert await desk.guest.write(1, b"one\n") == 4
    assert os.read(desk.master, 100) == b"one\r\n"
    assert await desk.guest.write(2, b"two") == 3
    assert os.read(desk.master, 100) == b"two"


async def test_all_three_are_the_controlling_terminal(desk: Desk) -> None:
    guest = desk.guest
    files = [guest.thread.file(fd) for fd in range(3)]
    assert len({id(file) for file in files}) == 1
    assert isinstance(files[0], TerminalFile)
    assert await files[0].path() == b"/dev/console"
    at = guest.room(8)
    assert await guest.call("ioctl", 0, 0x5413, at) == 0
    assert struct.unpack("<4H", await guest.get(at, 8)) == (30, 90, 0, 0)
    assert await guest.call("openat", -100, await guest.put(b"/dev/tty\0"), 2, 0) == 3
    assert await guest.call("openat", -100, await guest.put(b"/dev/console\0"), 2, 0) == 4


async def test_keys_are_signals(desk: Desk) -> None:
    os.write(desk.master, b"\x03")
    assert await desk.seen(2) == b"^C"
    assert desk.guest.process.pending.mask == bit(SIGINT)


async def test_the_window_changes(desk: Desk) -> None:
    guest = desk.guest
    guest.thread.blocked = bit(SIGWINCH)
    fcntl.ioctl(desk.master, termios.TIOCSWINSZ, struct.pack("<4H", 10, 20, 0, 0))
    os.kill(os.getpid(), signal.SIGWINCH)
    with trio.fail_after(5):
        while not guest.process.pending.mask & bit(SIGWINCH):  # noqa: ASYNC110
            await trio.sleep(0.01)
    at = guest.room(8)
    await guest.call("ioctl", 0, 0x5413, at)
    assert struct.unpack("<4H", await guest.get(at, 8)) == (10, 20, 0, 0)


async def test_the_host_hangs_up(desk: Desk) -> None:
    guest = desk.guest
    guest.thread.blocked = bit(SIGHUP) | bit(SIGCONT)
    os.close(desk.master)
    with trio.fail_after(5):
        assert await guest.read(0, 100) == b""
    assert guest.process.pending.mask == bit(SIGHUP) | bit(SIGCONT)
    assert await guest.write(1, b"x") == -errno.EIO


async def test_a_paste_larger_than_every_buffer(desk: Desk) -> None:
    guest = desk.guest
    data = b"".join(b"%06d %s\n" % (i, b"x" * 60) for i in range(1000))
    got = bytearray()

    async def paste() -> None:
        view = memoryview(data.replace(b"\n", b"\r"))
        while view:
            await trio.lowlevel.wait_writable(desk.master)
            view = view[os.write(desk.master, view[:512]) :]

    async def look_on() -> None:
        while True:
            await trio.lowlevel.wait_readable(desk.master)
            os.read(desk.master, 65536)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(paste)
            nursery.start_soon(look_on)
            while len(got) < len(data):
                line = await guest.read(0, 4096)
                assert isinstance(line, bytes)
                got += line
            nursery.cancel_scope.cancel()
    assert got == data


async def test_a_slow_host_makes_writers_wait(desk: Desk) -> None:
    guest, done = desk.guest, []
    data = bytes(range(48, 58)) * 20000

    async def writer() -> None:
        done.append(await guest.write(1, data))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer)
            await trio.sleep(0.05)
            assert not done
            assert await desk.seen(len(data)) == data
    assert done == [len(data)]


async def test_output_without_waiting_is_carried_later(desk: Desk) -> None:
    guest = desk.guest
    guest.thread.file(1).flags |= os.O_NONBLOCK
    total = 0
    while (count := await guest.write(1, b"z" * 1000)) > 0:
        total += count
        await trio.lowlevel.checkpoint()
    assert count == -errno.EAGAIN
    assert await guest.poll((1, 4)) == [0]
    assert len(await desk.seen(total)) == total
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await guest.poll((1, 4)) == [4]


async def test_only_output_is_a_terminal(host_pty: tuple[int, int]) -> None:
    master, slave = host_pty
    nothing = os.open(os.devnull, os.O_RDONLY)
    driver = ConsoleService((nothing, slave, slave))
    async with running_machine() as machine:
        desk = await sit_down(machine, driver, master)
        assert isinstance(desk.guest.thread.file(0), StreamFile)
        assert isinstance(desk.guest.thread.file(1), TerminalFile)
        assert await desk.guest.write(1, b"line\n") == 5
        assert await desk.seen(6) == b"line\r\n"  # once, by the host
    driver.close()
    os.close(nothing)


# With a processor -----------------------------------------------------------------------------


class Session:
    """`hardtack run` on a host pty."""

    def __init__(self, *argv: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "boot", "run", "-e", "PS1=$ ", "--", *argv],
            cwd=REPOSITORY, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.unread = b""

    def until(self, text: bytes, timeout_s: float = 60) -> None:
        """Read up to `text` and not further."""
        end = time.monotonic() + timeout_s
        while text not in self.unread:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in {self.unread!r}"
            if select.select([self.master], [], [], left)[0]:
                self.unread += os.read(self.master, 65536)
        self.unread = self.unread.partition(text)[2]

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        return self.process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="no busybox")
def test_a_shell_controls_its_jobs() -> None:
    with Session("/bin/busybox", "sh") as session:
        session.until(b"$ ")
        session.type(b"sleep 100; echo status $?\r")
        session.until(b"status")  # the echo
        time.sleep(1)
        session.type(b"\x03")
        session.until(b"^C")
        session.until(b"$ ")
        session.type(b"cat\r")
        session.until(b"cat\r\n")
        time.sleep(1)
        session.type(b"early\r")  # perhaps while the shell's editor still has echo off
        session.until(b"early\r\n")
        session.type(b"typed\r")
        session.until(b"typed\r\ntyped\r\n")
        session.type(b"\x1a")
        session.until(b"Stopped")
        session.type(b"fg\r")
        session.until(b"cat\r\n")
        time.sleep(1)
        session.type(b"again\r")
        session.until(b"again\r\nagain\r\n")
        session.type(b"\x04")
        session.until(b"$ ")
        session.type(b"exit 7\r")
        assert session.end() == 7
