"""Do terminals and pseudoterminals keep the rules of tty_ioctl(4), pty(7) and job control?"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from services.proc.abi import (
    POLLERR,
    POLLHUP,
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGTTIN,
    SIGTTOU,
    SIGWINCH,
)
from services.proc.park import Interrupted
from services.proc.signals.core import SIG_IGN, Action, bit
from services.proc.tty import termios as t
from services.proc.tty.terminal import READABLE, WRITABLE

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.proc.guest import Guest, GuestMachine

TCGETS, TCSETS, TCSETSF, TCGETS2, TCSETS2 = 0x5401, 0x5402, 0x5404, 0x802C542A, 0x402C542B
TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL, TIOCSCTTY = 0x540A, 0x540B, 0x540C, 0x540D, 0x540E
TIOCGPGRP, TIOCSPGRP, TIOCSTI, TIOCGWINSZ, TIOCSWINSZ = 0x540F, 0x5410, 0x5412, 0x5413, 0x5414
FIONREAD, TIOCNOTTY, TIOCGSID, TIOCGPTPEER, TIOCPKT = 0x541B, 0x5422, 0x5429, 0x5441, 0x5420
TIOCGPTN, TIOCSPTLCK, TIOCSIG = 0x80045430, 0x40045431, 0x40045436
NONBLOCK = os.O_RDWR | os.O_NONBLOCK


async def open_path(guest: Guest, path: bytes, flags: int = os.O_RDWR) -> int:
    return await guest.call("openat", -100, await guest.put(path + b"\0"), flags, 0)


async def get_int(guest: Guest, fd: int, command: int) -> int:
    at = guest.room(4)
    done = await guest.call("ioctl", fd, command, at)
    return struct.unpack("<i", await guest.get(at, 4))[0] if done == 0 else done


async def set_int(guest: Guest, fd: int, command: int, value: int) -> int:
    return await guest.call("ioctl", fd, command, await guest.put(struct.pack("<i", value)))


async def settings(guest: Guest, fd: int) -> t.Termios:
    at = guest.room(36)
    assert await guest.call("ioctl", fd, TCGETS, at) == 0
    return t.Termios.unpack(await guest.get(at, 36), t.STANDARD)


async def configure(guest: Guest, fd: int, **changes: int) -> None:
    now = await settings(guest, fd)
    cc = bytearray(now.cc)
    cc[t.VMIN], cc[t.VTIME] = changes.pop("vmin", cc[t.VMIN]), changes.pop("vtime", cc[t.VTIME])
    values = {"iflag": now.iflag, "oflag": now.oflag, "lflag": now.lflag} | changes
    image = t.Termios(cflag=now.cflag, cc=bytes(cc), **values).pack()
    assert await guest.call("ioctl", fd, TCSETS, await guest.put(image)) == 0


async def pair(guest: Guest, flags: int = os.O_RDWR) -> tuple[int, int]:
    """A master that does not block and its slave, with no control of anything."""
    master = await open_path(guest, b"/dev/ptmx", NONBLOCK)
    assert await set_int(guest, master, TIOCSPTLCK, 0) == 0
    number = await get_int(guest, master, TIOCGPTN)
    slave = await open_path(guest, b"/dev/pts/%d" % number, flags | os.O_NOCTTY)
    assert slave >= 0
    return master, slave


async def controlled(machine: GuestMachine) -> tuple[Guest, int, int]:
    """A session leader with a controlling terminal."""
    leader = await machine.guest()
    master, slave = await pair(leader)
    assert await leader.call("ioctl", slave, TIOCSCTTY, 0) == 0
    return leader, master, slave


async def background(machine: GuestMachine, leader: Guest) -> Guest:
    """A child of the leader in a group of its own."""
    child = await machine.guest(leader)
    child.process.pgid = child.process.pid
    return child


def pending(guest: Guest) -> int:
    return guest.process.pending.mask


# Pairs ----------------------------------------------------------------------------------------


async def test_a_pair_comes_and_goes(guest: Guest) -> None:
    master = await open_path(guest, b"/dev/ptmx")
    assert await get_int(guest, master, TIOCGPTN) == 0
    assert await open_path(guest, b"/dev/pts/0") == -errno.EIO  # still locked
    other = await open_path(guest, b"/dev/ptmx")
    assert await get_int(guest, other, TIOCGPTN) == 1
    at = guest.room(144)
    assert await guest.call("stat", await guest.put(b"/dev/pts/1\0"), at) == 0
    image = await guest.get(at, 144)
    assert struct.unpack_from("<I", image, 24)[0] == stat.S_IFCHR | 0o620
    assert struct.unpack_from("<II", image, 28) == (0, 5)
    assert struct.unpack_from("<Q", image, 40)[0] == os.makedev(136, 1)
    await guest.call("close", master)
    assert await open_path(guest, b"/dev/pts/0") == -errno.ENOENT
    again = await open_path(guest, b"/dev/ptmx")
    assert await get_int(guest, again, TIOCGPTN) == 0


async def test_a_number_is_free_when_both_sides_are(guest: Guest) -> None:
    master, slave = await pair(guest)
    await guest.call("close", master)
    another = await open_path(guest, b"/dev/ptmx")
    assert await get_int(guest, another, TIOCGPTN) == 1
    await guest.call("close", slave)
    third = await open_path(guest, b"/dev/ptmx")
    assert await get_int(guest, third, TIOCGPTN) == 0


async def test_typing_and_showing(guest: Guest) -> None:
    master, slave = await pair(guest, NONBLOCK)
    assert await guest.read(slave, 10) == -errno.EAGAIN
    assert await guest.read(master, 10) == -errno.EAGAIN
    assert await guest.write(master, b"helo\x7flo\r") == 8
    assert await guest.read(master, 100) == b"helo\b \blo\r\n"
    assert await get_int(guest, slave, FIONREAD) == 6
    assert await guest.read(slave, 3) == b"hel"
    assert await guest.read(slave, 100) == b"lo\n"
    assert await guest.write(slave, b"a\nb") == 3
    assert await get_int(guest, master, FIONREAD) == 4
    assert await guest.read(master, 100) == b"a\r\nb"
    assert await guest.write(master, b"\x04") == 1
    assert await guest.read(slave, 100) == b""


async def test_readiness(guest: Guest) -> None:
    master, slave = await pair(guest, NONBLOCK)
    both = (master, READABLE | WRITABLE), (slave, READABLE | WRITABLE)
    assert await guest.poll(*both) == [WRITABLE, WRITABLE]
    await guest.write(master, b"x")
    assert await guest.poll(*both) == [READABLE | WRITABLE, WRITABLE]
    await guest.write(master, b"\n")
    assert await guest.poll(*both) == [READABLE | WRITABLE, READABLE | WRITABLE]
    await guest.call("close", slave)
    assert await guest.poll(both[0]) == [READABLE | WRITABLE | POLLHUP]
    await guest.read(master, 100)
    assert await guest.read(master, 100) == -errno.EIO
    again = await open_path(guest, b"/dev/pts/0", NONBLOCK)
    assert await guest.poll(both[0]) == [WRITABLE]
    assert await guest.read(again, 9) == b"x\n"
    await guest.call("close", master)
    assert await guest.poll((again, READABLE)) == [READABLE | POLLERR | POLLHUP]
    assert await guest.read(again, 9) == b""
    assert await guest.write(again, b"x") == -errno.EIO
    assert await guest.call("ioctl", again, TCGETS, guest.room(36)) == -errno.EIO


async def test_who_waits_is_woken(guest: Guest) -> None:
    _master, slave = await pair(guest)
    got: list[bytes | int] = []

    async def reader() -> None:
        got.append(await guest.read(slave, 100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        terminal = guest.thread.file(slave).terminal  # type: ignore[attr-defined]
        terminal.feed(b"line\n")
    assert got == [b"line\n"]


async def test_output_waits_for_who_reads(guest: Guest) -> None:
    _master, slave = await pair(guest)
    terminal = guest.thread.file(slave).terminal  # type: ignore[attr-defined]
    done: list[int] = []

    async def writer() -> None:
        done.append(await guest.write(slave, b"z" * 50000))

    seen = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer)
        await trio.testing.wait_all_tasks_blocked()
        while seen < 50000:
            assert len(terminal.out) <= 2 * 8192
            seen += len(terminal.out)
            terminal.discard_output()
            await trio.testing.wait_all_tasks_blocked()
    assert (done, seen) == ([50000], 50000)
    guest.thread.file(slave).flags |= os.O_NONBLOCK
    total = 0
    while (count := await guest.write(slave, b"z" * 1000)) > 0:
        total += count
    assert (count, total) == (-errno.EAGAIN, 8192)


async def test_input_waits_for_who_reads(guest: Guest) -> None:
    master, slave = await pair(guest, NONBLOCK)
    await configure(guest, slave, lflag=0, iflag=0)
    total = 0
    while (count := await guest.write(master, bytes(range(100)) * 10)) > 0:
        total += count
    assert count == -errno.EAGAIN
    assert await guest.poll((master, WRITABLE)) == [0]
    got = b""
    while isinstance(data := await guest.read(slave, 1500), bytes):
        got += data
    assert len(got) == total
    assert got == (bytes(range(100)) * 200)[:total]
    assert await guest.poll((master, WRITABLE)) == [WRITABLE]


async def test_stop_and_start(guest: Guest) -> None:
    master, slave = await pair(guest, NONBLOCK)
    await guest.write(master, b"\x13")
    assert await guest.write(slave, b"held") == -errno.EAGAIN
    await guest.write(master, b"typed")
    assert await guest.read(master, 100) == -errno.EAGAIN
    await guest.write(master, b"\x11")
    assert await guest.read(master, 100) == b"typed"
    assert await guest.write(slave, b"held") == 4
    assert await guest.call("ioctl", slave, TCXONC, 0) == 0
    assert await guest.write(slave, b"held") == -errno.EAGAIN
    assert await guest.call("ioctl", slave, TCXONC, 1) == 0
    assert await guest.write(slave, b"held") == 4
    assert await guest.call("ioctl", slave, TCXONC, 9) == -errno.EINVAL


# VMIN and VTIME -------------------------------------------------------------------------------


async def timed(guest: Guest, fd: int, count: int = 10) -> tuple[bytes | int, float]:
    begun = trio.current_time()
    data = await guest.read(fd, count)
    return data, round(trio.current_time() - begun, 2)


async def test_vmin_and_vtime(autojump_clock: MockClock, guest: Guest) -> None:
    _master, slave = await pair(guest)
    terminal = guest.thread.file(slave).terminal  # type: ignore[attr-defined]
    raw = {"lflag": 0, "iflag": 0}

    async def type_slowly(data: bytes, pause_s: float) -> None:
        for c in data:
            await trio.sleep(pause_s)
            terminal.feed(bytes((c,)))

    await configure(guest, slave, vmin=0, vtime=0, **raw)
    assert await timed(guest, slave) == (b"", 0)
    await configure(guest, slave, vmin=0, vtime=5, **raw)
    assert await timed(guest, slave) == (b"", 0.5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(type_slowly, b"ab", 0.3)
        assert await timed(guest, slave) == (b"a", 0.3)
    assert await timed(guest, slave) == (b"b", 0)
    await configure(guest, slave, vmin=3, vtime=0, **raw)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(type_slowly, b"abcd", 1)
        assert await timed(guest, slave) == (b"abc", 3)
    assert await guest.poll((slave, READABLE)) == [0]  # one byte, three wanted
    assert await timed(guest, slave, 1) == (b"d", 0)
    await configure(guest, slave, vmin=4, vtime=5, **raw)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(type_slowly, b"xy", 0.4)
        assert await timed(guest, slave) == (b"xy", 1.3)


async def test_a_new_mode_frees_who_waits(guest: Guest) -> None:
    master, slave = await pair(guest)
    await guest.write(master, b"no newline")
    got: list[bytes | int] = []

    async def reader() -> None:
        got.append(await guest.read(slave, 4))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        other = await guest.machine.guest(guest)
        await configure(other, slave, lflag=0)
    assert got == [b"no n"]


# Settings -------------------------------------------------------------------------------------


async def test_settings_are_kept(guest: Guest) -> None:
    master, slave = await pair(guest)
    image = t.Termios(1, 2, t.B38400, 4, 0, bytes(range(1, 20))).pack()
    assert await guest.call("ioctl", slave, TCSETS, await guest.put(image)) == 0
    at = guest.room(44)
    for fd in (master, slave):
        assert await guest.call("ioctl", fd, TCGETS, at) == 0
        assert await guest.get(at, 36) == image
    odd = image + struct.pack("<II", 12345, 12345)
    odd = odd[:8] + struct.pack("<I", 0o10000 | t.CS8) + odd[12:]  # BOTHER
    assert await guest.call("ioctl", slave, TCSETS2, await guest.put(odd)) == 0
    assert await guest.call("ioctl", slave, TCGETS2, at) == 0
    assert await guest.get(at, 44) == odd
    assert await guest.call("ioctl", slave, TCSETS, 1) == -errno.EFAULT


async def test_flushing(guest: Guest) -> None:
    master, slave = await pair(guest, NONBLOCK)
    await guest.write(master, b"line\nrest")
    assert await guest.call("ioctl", slave, TCFLSH, 0) == 0
    assert await guest.read(slave, 10) == -errno.EAGAIN
    await guest.write(slave, b"out")
    assert await guest.call("ioctl", slave, TCFLSH, 1) == 0
    assert await guest.read(master, 100) == -errno.EAGAIN
    assert await guest.call("ioctl", slave, TCFLSH, 3) == -errno.EINVAL
    image = (await settings(guest, slave)).pack()
    await guest.write(master, b"line\n")
    assert await guest.call("ioctl", slave, TCSETSF, await guest.put(image)) == 0
    assert await guest.read(slave, 10) == -errno.EAGAIN


async def test_window_size(machine: GuestMachine) -> None:
    leader, master, slave = await controlled(machine)
    at = leader.room(8)
    assert await leader.call("ioctl", slave, TIOCGWINSZ, at) == 0
    assert await leader.get(at, 8) == bytes(8)
    size = await leader.put(struct.pack("<4H", 24, 80, 1, 2))
    leader.thread.blocked = bit(SIGWINCH)
    assert await leader.call("ioctl", master, TIOCSWINSZ, size) == 0
    assert pending(leader) == bit(SIGWINCH)
    leader.process.pending.discard(bit(SIGWINCH))
    assert await leader.call("ioctl", slave, TIOCSWINSZ, size) == 0
    assert pending(leader) == 0  # nothing changed
    assert await leader.call("ioctl", slave, TIOCGWINSZ, at) == 0
    assert await leader.get(at, 8) == struct.pack("<4H", 24, 80, 1, 2)


async def test_refusals(guest: Guest) -> None:
    master, slave = await pair(guest)
    at = await guest.put(bytes(8))
    for command, error in (
        (TIOCSTI, errno.EIO),
        (TIOCGPGRP, errno.ENOTTY),
        (TIOCGSID, errno.ENOTTY),
        (TIOCNOTTY, errno.ENOTTY),
        (TIOCGPTN, errno.ENOTTY),
        (0x1234, errno.ENOTTY),
        (0x541C, errno.ENOTTY),
    ):
        assert await guest.call("ioctl", slave, command, at) == -error, hex(command)
    assert await get_int(guest, master, TIOCGPGRP) == 0
    assert await set_int(guest, master, TIOCPKT, 0) == 0
    assert await set_int(guest, slave, TIOCPKT, 1) == -errno.ENOTTY
    assert await guest.call("lseek", slave, 0, 0) == -errno.ESPIPE
    assert await guest.call("pread64", slave, at, 1, 0) == -errno.ESPIPE


async def test_exclusive(guest: Guest) -> None:
    _, slave = await pair(guest)
    assert await guest.call("ioctl", slave, TIOCEXCL, 0) == 0
    assert await open_path(guest, b"/dev/pts/0", os.O_RDWR | os.O_NOCTTY) >= 0  # root may
    ids = guest.process.credentials
    await guest.call("chmod", await guest.put(b"/dev/pts/0\0"), 0o666)
    guest.process.credentials = ids.changed(euid=1000)
    assert await open_path(guest, b"/dev/pts/0", os.O_RDWR | os.O_NOCTTY) == -errno.EBUSY
    guest.process.credentials = ids


async def test_peer(guest: Guest) -> None:
    master = await open_path(guest, b"/dev/ptmx", NONBLOCK)
    assert await guest.call("ioctl", master, TIOCGPTPEER, os.O_RDWR) == -errno.EIO
    await set_int(guest, master, TIOCSPTLCK, 0)
    slave = await guest.call("ioctl", master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    assert await guest.write(slave, b"hi") == 2
    assert await guest.read(master, 10) == b"hi"
    assert await guest.thread.file(slave).path() == b"/dev/pts/0"


# Job control ----------------------------------------------------------------------------------


async def test_a_leader_gets_a_terminal_by_opening_it(machine: GuestMachine) -> None:
    leader = await machine.guest()
    assert await open_path(leader, b"/dev/tty") == -errno.ENXIO
    master, _ = await pair(leader)
    assert await open_path(leader, b"/dev/tty") == -errno.ENXIO  # O_NOCTTY
    slave = await open_path(leader, b"/dev/pts/0")
    tty = await open_path(leader, b"/dev/tty")
    assert await leader.write(tty, b"mine") == 4
    assert await leader.read(master, 10) == b"mine"
    pid = leader.process.pid
    for fd in (slave, tty, master):
        assert await get_int(leader, fd, TIOCGPGRP) == pid
        assert await get_int(leader, fd, TIOCGSID) == pid
    stranger = await machine.guest()
    theirs = await open_path(stranger, b"/dev/pts/0")
    assert await stranger.call("ioctl", theirs, TIOCSCTTY, 0) == -errno.EPERM
    assert await stranger.call("ioctl", theirs, TIOCSCTTY, 1) == 0  # root steals
    assert await open_path(leader, b"/dev/tty") == -errno.ENXIO


async def test_keys_become_signals_of_the_foreground(machine: GuestMachine) -> None:
    leader, master, slave = await controlled(machine)
    child = await background(machine, leader)
    await leader.write(master, b"\x03")
    assert pending(leader) == bit(SIGINT)
    assert pending(child) == 0
    assert await leader.read(master, 10) == b"^C"
    assert await set_int(leader, slave, TIOCSPGRP, child.process.pid) == 0
    await leader.write(master, b"\x1c")
    assert pending(child) == bit(3)
    await leader.call("ioctl", master, TIOCSIG, 10)
    assert pending(child) == bit(3) | bit(10)


async def test_setting_the_foreground(machine: GuestMachine) -> None:
    leader, _, slave = await controlled(machine)
    stranger = await machine.guest()
    assert await set_int(leader, slave, TIOCSPGRP, stranger.process.pid) == -errno.EPERM
    assert await set_int(leader, slave, TIOCSPGRP, 99999) == -errno.ESRCH
    assert await set_int(leader, slave, TIOCSPGRP, -1) == -errno.EINVAL
    child = await background(machine, leader)
    with pytest.raises(Interrupted):
        await set_int(child, slave, TIOCSPGRP, child.process.pid)
    assert pending(child) == bit(SIGTTOU)
    child.thread.blocked = bit(SIGTTOU)  # as shells do
    assert await set_int(child, slave, TIOCSPGRP, child.process.pid) == 0
    assert await get_int(leader, slave, TIOCGPGRP) == child.process.pid


async def test_reading_in_the_background(machine: GuestMachine) -> None:
    leader, _master, slave = await controlled(machine)
    child = await background(machine, leader)
    mate = await machine.guest(leader)
    mate.process.pgid = child.process.pid
    with pytest.raises(Interrupted):
        await child.read(slave, 10)
    assert pending(child) == pending(mate) == bit(SIGTTIN)
    assert child.thread.work
    child.process.actions.set(SIGTTIN, Action(SIG_IGN))
    assert await child.read(slave, 10) == -errno.EIO
    child.process.actions.set(SIGTTIN, Action())
    leader.process.pgid = child.process.pid  # nobody is left to continue the group
    leader.process.session.terminal.foreground = 77
    assert await child.read(slave, 10) == -errno.EIO


async def test_writing_in_the_background(machine: GuestMachine) -> None:
    leader, _master, slave = await controlled(machine)
    child = await background(machine, leader)
    assert await child.write(slave, b"x") == 1
    now = await settings(leader, slave)
    await configure(leader, slave, lflag=now.lflag | t.TOSTOP)
    with pytest.raises(Interrupted):
        await child.write(slave, b"x")
    assert pending(child) == bit(SIGTTOU)
    child.process.actions.set(SIGTTOU, Action(SIG_IGN))
    assert await child.write(slave, b"x") == 1
    at = await child.put(now.pack())
    assert await child.call("ioctl", slave, TCSETS, at) == 0
    child.process.actions.set(SIGTTOU, Action())
    with pytest.raises(Interrupted):
        await child.call("ioctl", slave, TCSETS, at)


async def test_giving_the_terminal_up(machine: GuestMachine) -> None:
    leader, _, slave = await controlled(machine)
    child = await background(machine, leader)
    assert await child.call("ioctl", slave, TIOCNOTTY, 0) == 0
    assert await open_path(child, b"/dev/tty") == -errno.ENXIO
    assert await open_path(leader, b"/dev/tty") >= 0
    assert await leader.call("ioctl", slave, TIOCNOTTY, 0) == 0
    assert pending(leader) == bit(SIGHUP)
    assert await open_path(leader, b"/dev/tty") == -errno.ENXIO
    assert await leader.write(slave, b"x") == 1  # it is not hung up


async def test_the_master_hangs_up(machine: GuestMachine) -> None:
    leader, master, slave = await controlled(machine)
    child = await background(machine, leader)
    await set_int(leader, slave, TIOCSPGRP, child.process.pid)
    leader.thread.blocked = bit(SIGHUP) | bit(SIGCONT)
    for guest in (child, leader):
        await guest.call("close", master)
    assert pending(leader) == bit(SIGHUP) | bit(SIGCONT)
    assert pending(child) == 0
    assert await leader.read(slave, 10) == b""
    assert await child.write(slave, b"x") == -errno.EIO
    assert await set_int(leader, slave, TIOCSPGRP, 1) == -errno.ENOTTY
    assert await open_path(leader, b"/dev/tty") == -errno.ENXIO


async def test_the_leader_ends(machine: GuestMachine) -> None:
    leader, master, slave = await controlled(machine)
    child = await background(machine, leader)
    terminal = leader.process.session.terminal
    foreground = terminal.foreground
    terminal.disown()
    assert terminal.foreground == foreground  # who is told is still known
    assert await child.read(slave, 10) == b""
    assert await child.write(slave, b"x") == -errno.EIO
    stranger = await machine.guest()
    fresh = await open_path(stranger, b"/dev/pts/0")
    assert await get_int(stranger, fresh, TIOCGSID) == stranger.process.pid
    assert await stranger.write(fresh, b"new") == 3
    assert await leader.read(master, 10) == b"new"


async def test_a_read_that_waits_ends_at_a_hangup(machine: GuestMachine) -> None:
    leader, _, slave = await controlled(machine)
    got: list[bytes | int] = []

    async def reader() -> None:
        got.append(await leader.read(slave, 100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        leader.process.session.terminal.disown()
    assert got == [b""]
