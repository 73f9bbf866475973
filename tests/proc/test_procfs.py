"""Is /proc the kernel's live state, in Linux's formats, under Linux's rules?"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trio

from services.drivers.entropy.service import EntropyService
from services.fs.api import Retain
from services.proc.procfs import ProcFs
from services.proc.procfs.entry import Text
from services.proc.procfs.sysctl import format_uuid
from services.proc.table import CALLS
from services.proc.task import Thread
from services.vm.api import Map
from tests.proc.guest import ARENA, Guest, GuestMachine, running_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

AT_FDCWD = -100


@pytest.fixture
async def machine() -> AsyncIterator[GuestMachine]:
    async with running_machine() as machine:
        kernel = machine.kernel
        machine.bus.serve("entropy", EntropyService(7).handlers)
        kernel.extra["procfs"] = procfs = ProcFs(kernel)
        await procfs.start()
        yield machine


@pytest.fixture
async def guest(machine: GuestMachine) -> Guest:
    guest = await machine.guest()
    await machine.kernel.fs.call(Retain(machine.root))  # its current directory's own
    return guest


async def open_at(guest: Guest, path: bytes, flags: int = 0, base: int = AT_FDCWD) -> int:
    return await guest.call("openat", base, await guest.put(path + b"\0"), flags, 0o644)


async def content(guest: Guest, path: bytes, base: int = AT_FDCWD) -> bytes:
    fd = await open_at(guest, path, 0, base)
    assert fd >= 0, (path, errno.errorcode[-fd])
    data = b""
    while piece := await guest.read(fd, 3000):
        assert isinstance(piece, bytes), errno.errorcode[-piece]
        data += piece
    await guest.call("close", fd)
    return data


async def names(guest: Guest, path: bytes, size: int = 8192) -> list[bytes]:
    fd = await open_at(guest, path, os.O_RDONLY | os.O_DIRECTORY)
    assert fd >= 0, (path, errno.errorcode[-fd])
    found = []
    at = guest.room(size)
    while (count := await guest.call("getdents64", fd, at, size)) > 0:
        image = await guest.get(at, count)
        while image:
            length = struct.unpack_from("<H", image, 16)[0]
            found.append(image[19:length].split(b"\0")[0])
            image = image[length:]
    assert count == 0
    await guest.call("close", fd)
    return found


async def link(guest: Guest, path: bytes, base: int = AT_FDCWD) -> bytes | int:
    at = guest.room(4096)
    done = await guest.call("readlinkat", base, await guest.put(path + b"\0"), at, 4096)
    return await guest.get(at, done) if done >= 0 else done


async def mode_of(guest: Guest, path: bytes, follow: bool = True) -> int:
    at = guest.room(144)
    flags = 0 if follow else 0x100
    done = await guest.call("newfstatat", AT_FDCWD, await guest.put(path + b"\0"), at, flags)
    return struct.unpack_from("<I", await guest.get(at, 144), 24)[0] if done == 0 else done


# Paths ----------------------------------------------------------------------------------------


async def test_self_is_whoever_looks(machine: GuestMachine, guest: Guest) -> None:
    other = await machine.guest()
    for who in (guest, other):
        pid = who.process.pid
        assert await link(who, b"/proc/self") == b"%d" % pid
        assert await link(who, b"/proc/thread-self") == b"%d/task/%d" % (pid, pid)
        assert (await content(who, b"/proc/self/stat")).startswith(b"%d (" % pid)
        assert await content(who, b"/proc/thread-self/stat") == await content(
            who, b"/proc/self/stat"
        )


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"/proc/nothing", errno.ENOENT),
        (b"/proc/4000000", errno.ENOENT),
        (b"/proc/007", errno.ENOENT),
        (b"/proc/version/", errno.ENOTDIR),
        (b"/proc/version/more", errno.ENOTDIR),
        (b"/proc/self/fd/77", errno.ENOENT),
        (b"/proc/self/fd/77/more", errno.ENOENT),
        (b"/proc/self/exe", errno.ENOENT),
        (b"/proc/self/cwd/nothing", errno.ENOENT),
    ],
)
async def test_paths_that_lead_nowhere(guest: Guest, path: bytes, error: int) -> None:
    assert await open_at(guest, path) == -error
    assert await mode_of(guest, path) == -error


async def test_paths_lead_out_again(guest: Guest) -> None:
    made = await open_at(guest, b"/file", os.O_CREAT | os.O_WRONLY)
    assert await guest.write(made, b"outside") == 7
    for path in (
        b"/proc/../file",
        b"/proc/self/../../file",
        b"/proc/self/root/file",
        b"/proc/self/cwd/file",
        b"/proc/self/cwd/proc/self/root/proc/../file",
        b"/proc/./self/task/../cwd//file",
    ):
        assert await content(guest, path) == b"outside"
    new = await open_at(guest, b"/proc/self/cwd/made", os.O_CREAT | os.O_WRONLY)
    assert new >= 0
    assert await mode_of(guest, b"/made") == stat.S_IFREG | 0o644
    base = await open_at(guest, b"/", os.O_DIRECTORY)
    assert await content(guest, b"/proc/self/fd/%d/file" % base) == b"outside"
    assert await mode_of(guest, b"/proc/self/fd/%d/file/" % base) == -errno.ENOTDIR


async def test_a_directory_of_proc_is_a_base(guest: Guest) -> None:
    pid = guest.process.pid
    base = await open_at(guest, b"/proc/self", os.O_DIRECTORY)
    assert await content(guest, b"comm", base) == guest.process.comm + b"\n"
    assert await link(guest, b"root", base) == b"/"
    assert await link(guest, b"../self", base) == b"%d" % pid
    assert await link(guest, b"/proc/self/fd/%d" % base) == b"/proc/%d" % pid
    assert await mode_of(guest, b"/proc/self/fd/%d/task" % base) == stat.S_IFDIR | 0o555
    assert await open_at(guest, b"x", os.O_CREAT, base) == -errno.ENOENT


async def test_standing_in_proc(guest: Guest) -> None:
    pid = guest.process.pid
    at = guest.room(100)

    async def cwd() -> bytes:
        size = await guest.call("getcwd", at, 100)
        return (await guest.get(at, size))[:-1]

    assert await guest.call("chdir", await guest.put(b"/proc/self/task\0")) == 0
    assert await cwd() == b"/proc/%d/task" % pid
    assert await content(guest, b"../comm") == b"\n"
    assert await link(guest, b"/proc/self/cwd") == b"/proc/%d/task" % pid
    assert await content(guest, b"/proc/self/cwd/../comm") == b"\n"
    assert await guest.call("chdir", await guest.put(b"..\0")) == 0
    assert await cwd() == b"/proc/%d" % pid
    assert await guest.call("chdir", await guest.put(b"comm\0")) == -errno.ENOTDIR
    assert await guest.call("chdir", await guest.put(b"../../dev\0")) == 0
    assert await cwd() == b"/dev"
    assert await guest.call("chdir", await guest.put(b"/proc/self/root\0")) == 0
    assert await cwd() == b"/"


CHANGES: list[tuple[str, bytes, int]] = [
    ("mkdir", b"/proc/x", errno.ENOENT),
    ("mkdir", b"/proc/version", errno.EEXIST),
    ("rmdir", b"/proc/self", errno.ENOTDIR),
    ("rmdir", b"/proc/version", errno.ENOTDIR),
    ("rmdir", b"/proc/hardtack", errno.EPERM),
    ("unlink", b"/proc/version", errno.EPERM),
    ("unlink", b"/proc/x", errno.ENOENT),
    ("chmod", b"/proc/self/comm", errno.EPERM),
]


@pytest.mark.parametrize(("call", "path", "error"), CHANGES)
async def test_nothing_can_be_changed(guest: Guest, call: str, path: bytes, error: int) -> None:
    arguments = (0o755,) if call in ("mkdir", "chmod") else ()
    assert await guest.call(call, await guest.put(path + b"\0"), *arguments) == -error


OPENS: list[tuple[bytes, int, int]] = [
    (b"/proc/self", os.O_WRONLY, errno.EISDIR),
    (b"/proc/version", os.O_DIRECTORY, errno.ENOTDIR),
    (b"/proc/version", os.O_CREAT | os.O_EXCL, errno.EEXIST),
    (b"/proc/new", os.O_CREAT | os.O_WRONLY, errno.ENOENT),
    (b"/proc/self", os.O_NOFOLLOW, errno.ELOOP),
    (b"/proc/self/root", os.O_NOFOLLOW, errno.ELOOP),
    (b"/proc/sys/kernel/osrelease", os.O_RDWR, errno.EACCES),
]


@pytest.mark.parametrize(("path", "flags", "error"), OPENS)
async def test_opens_that_are_refused(guest: Guest, path: bytes, flags: int, error: int) -> None:
    assert await open_at(guest, path, flags) == -error


# Descriptors ----------------------------------------------------------------------------------


async def test_fd_links_open_anew(guest: Guest) -> None:
    fd = await open_at(guest, b"/file", os.O_CREAT | os.O_RDWR)
    await guest.write(fd, b"content")
    again = await open_at(guest, b"/proc/self/fd/%d" % fd)
    assert await guest.read(again, 3) == b"con"
    assert await guest.call("lseek", fd, 0, 1) == 7
    assert await link(guest, b"/proc/self/fd/%d" % fd) == b"/file"
    assert await guest.call("unlink", await guest.put(b"/file\0")) == 0
    assert await link(guest, b"/proc/self/fd/%d" % fd) == b"/file (deleted)"
    assert await content(guest, b"/proc/self/fd/%d" % fd) == b"content"
    await open_at(guest, b"/file", os.O_CREAT)  # another file at the old name
    assert await content(guest, b"/proc/self/fd/%d" % fd) == b"content"
    cut = await open_at(guest, b"/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_TRUNC)
    assert cut >= 0
    assert await content(guest, b"/proc/self/fd/%d" % fd) == b""


async def test_fd_links_of_files_without_a_path(guest: Guest) -> None:
    r, w = await guest.pipe()
    await guest.write(w, b"through")
    assert await open_at(guest, b"/proc/self/fd/%d" % r, os.O_NONBLOCK) >= 0
    assert re.fullmatch(rb"pipe:\[\d+\]", await link(guest, b"/proc/self/fd/%d" % r))  # type: ignore[arg-type]
    again = await open_at(guest, b"/proc/self/fd/%d" % r)
    assert await guest.read(again, 20) == b"through"
    await guest.call("close", w)
    writer = await open_at(guest, b"/proc/self/fd/%d" % r, os.O_WRONLY)
    assert await guest.write(writer, b"more") == 4
    assert await guest.read(r, 20) == b"more"
    memory = await guest.call("memfd_create", await guest.put(b"box\0"), 0)
    await guest.write(memory, b"kept")
    assert await link(guest, b"/proc/self/fd/%d" % memory) == b"/memfd:box (deleted)"
    assert await content(guest, b"/proc/self/fd/%d" % memory) == b"kept"
    event = await guest.call("eventfd2", 0, 0)
    assert await open_at(guest, b"/proc/self/fd/%d" % event) == -errno.ENXIO


async def test_fd_shows_how_it_was_opened(guest: Guest) -> None:
    for flags, mode in ((0, 0o500), (1, 0o300), (2, 0o700)):
        fd = await open_at(guest, b"/dev/null", flags)
        assert await mode_of(guest, b"/proc/self/fd/%d" % fd, False) == stat.S_IFLNK | mode
        assert await mode_of(guest, b"/proc/self/fd/%d" % fd) == stat.S_IFCHR | 0o666
    fd = await open_at(guest, b"/file", os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC)
    await guest.write(fd, b"12345")
    info = await content(guest, b"/proc/self/fdinfo/%d" % fd)
    assert re.fullmatch(rb"pos:\t5\nflags:\t02102002\nmnt_id:\t\d+\nino:\t\d+\n", info)


async def test_opened_by_path_only(guest: Guest) -> None:
    fd = await open_at(guest, b"/proc/self/exe", os.O_NOFOLLOW | 0o10000000)
    at = guest.room(144)
    assert await guest.call("fstat", fd, at) == 0
    assert stat.S_ISLNK(struct.unpack_from("<I", await guest.get(at, 144), 24)[0])


# Listings -------------------------------------------------------------------------------------


async def test_listings_hold_what_can_be_opened(guest: Guest) -> None:
    top = await names(guest, b"/proc")
    assert top[:2] == [b".", b".."]
    assert {b"%d" % guest.process.pid, b"self", b"meminfo", b"sys"} <= set(top)
    assert await names(guest, b"/proc/self/task") == [b".", b"..", b"%d" % guest.process.pid]
    for folder in (b"/proc", b"/proc/self", b"/proc/self/task/%d" % guest.process.pid):
        for name in await names(guest, folder):
            assert await mode_of(guest, folder + b"/" + name, False) >= 0
            mode = await mode_of(guest, folder + b"/" + name)
            assert mode >= 0 or name == b"exe"
            if mode >= 0 and stat.S_ISREG(mode):
                await content(guest, folder + b"/" + name)


async def test_listing_survives_processes_that_come_and_go(
    machine: GuestMachine, guest: Guest
) -> None:
    processes = machine.kernel.processes
    others = [await machine.guest() for _ in range(40)]
    fd = await open_at(guest, b"/proc", os.O_DIRECTORY)
    at = guest.room(512)
    seen: list[bytes] = []
    round_number = 0
    gone: set[int] = set()
    while (count := await guest.call("getdents64", fd, at, 300)) > 0:
        image = await guest.get(at, count)
        while image:
            length = struct.unpack_from("<H", image, 16)[0]
            seen.append(image[19:length].split(b"\0")[0])
            image = image[length:]
        victim = others[round_number * 3 % 40].process.pid
        if round_number < 5:
            gone.add(victim)
            removed = processes.pop(victim, None)
            assert removed is None or removed.descriptors is not None
        round_number += 1
    assert len(seen) == len(set(seen))
    staying = {b"%d" % pid for pid in processes} - {b"%d" % pid for pid in gone}
    assert staying <= set(seen)


# Contents -------------------------------------------------------------------------------------


async def test_maps_look_as_on_linux(guest: Guest) -> None:
    text = (await content(guest, b"/proc/self/maps")).decode()
    line = re.compile(
        r"[0-9a-f]{8,}-[0-9a-f]{8,} [r-][w-][x-][sp] [0-9a-f]{8} [0-9a-f]{2}:[0-9a-f]{2} \d+ "
    )
    for row in text.splitlines(keepends=True):
        assert line.match(row), row
    assert text.startswith(f"{ARENA:08x}-")
    fd = await open_at(guest, b"/a file", os.O_CREAT | os.O_RDWR)
    await guest.write(fd, bytes(8192))
    assert await guest.call("mmap", 0, 8192, 1, 2, fd, 4096) > 0
    mapped = (await content(guest, b"/proc/self/maps")).decode().splitlines()
    row = next(row for row in mapped if row.endswith("/a file"))
    assert row.index("/a file") == 73
    assert " r--p 00001000 " in row
    smaps = (await content(guest, b"/proc/self/smaps")).decode()
    assert smaps.count("VmFlags:") == len(mapped)


async def test_sums_agree(guest: Guest) -> None:
    await guest.thread.copyout(ARENA, bytes(40960))
    status = dict(
        line.split(":\t", 1)
        for line in (await content(guest, b"/proc/self/status")).decode().splitlines()
    )
    statm = [int(n) for n in (await content(guest, b"/proc/self/statm")).split()]
    fields = (await content(guest, b"/proc/self/stat")).rsplit(b")", 1)[1].split()
    assert len(fields) == 50
    assert int(status["VmSize"].split()[0]) == statm[0] * 4
    assert int(status["VmRSS"].split()[0]) == statm[1] * 4 >= 40
    assert int(fields[20]) == statm[0] * 4096
    assert int(fields[21]) == statm[1]
    parts = sum(int(status[name].split()[0]) for name in ("RssAnon", "RssFile", "RssShmem"))
    assert parts == int(status["VmRSS"].split()[0])


async def test_limits_are_shown_as_the_host_shows_them(guest: Guest) -> None:
    with open("/proc/self/limits") as host:  # noqa: ASYNC230
        wanted = host.read().splitlines()
    shown = (await content(guest, b"/proc/self/limits")).decode().splitlines()
    assert [len(row) for row in shown] == [len(row) for row in wanted]
    assert [row[:25] + row[67:] for row in shown] == [row[:25] + row[67:] for row in wanted]


async def test_a_title_may_reach_into_the_environment(guest: Guest) -> None:
    at = await guest.put(b"prog\0arg\0A=1\0B=2\0" + bytes(16))
    guest.process.argv_range, guest.process.env_range = (at, at + 9), (at + 9, at + 17)
    assert await content(guest, b"/proc/self/cmdline") == b"prog\0arg\0"
    assert await content(guest, b"/proc/self/environ") == b"A=1\0B=2\0"
    await guest.thread.copyout(at, b"title: long\0\0")
    assert await content(guest, b"/proc/self/cmdline") == b"title: long\0"


async def test_reading_goes_on_in_one_state(machine: GuestMachine, guest: Guest) -> None:
    fd = await open_at(guest, b"/proc/loadavg")
    first = await guest.read(fd, 5)
    machine.kernel.last_pid += 100
    rest = await guest.read(fd, 100)
    assert await guest.call("lseek", fd, 0, 0) == 0
    anew = await guest.read(fd, 100)
    assert isinstance(first, bytes)
    assert isinstance(rest, bytes)
    assert isinstance(anew, bytes)
    assert int(anew.split()[-1]) == int((first + rest).split()[-1]) + 100


async def test_load_follows_what_runs(
    autojump_clock: MockClock, machine: GuestMachine, guest: Guest
) -> None:
    kernel = machine.kernel
    thread = Thread(kernel, guest.process, 9000, SimpleNamespace())  # type: ignore[arg-type]
    kernel.threads[9000] = thread
    await trio.sleep(300)
    one, five, fifteen = kernel.extra["load"].averages
    assert 0.95 < one <= 1
    assert one > five > fifteen > 0.2
    del kernel.threads[9000]
    await trio.sleep(120)
    assert kernel.extra["load"].averages[0] < 0.2


async def test_own_files(machine: GuestMachine, guest: Guest) -> None:
    machine.kernel.call_counts = [0] * 512
    machine.kernel.call_counts[39] = 7
    assert await content(guest, b"/proc/hardtack/calls") == b"39 getpid 7\n"
    assert CALLS[39].name == "getpid"
    rows = dict(row.split() for row in (await content(guest, b"/proc/hardtack/heap")).splitlines())
    assert int(rows[b"limit"]) == machine.kernel.admission.limit_bytes


async def test_uuids() -> None:
    assert format_uuid(bytes(16)) == b"00000000-0000-4000-8000-000000000000"


async def test_others_can_add(machine: GuestMachine, guest: Guest) -> None:
    async def read(spot: object) -> bytes:
        return b"added\n"

    machine.kernel.extra["procfs"].extend(b"self/net", [Text(name=b"extra", mode=0o444, read=read)])
    assert await content(guest, b"/proc/net/extra") == b"added\n"
    assert await content(guest, b"/proc/thread-self/net/extra") == b"added\n"


# Writing --------------------------------------------------------------------------------------


async def test_names_can_be_changed(machine: GuestMachine, guest: Guest) -> None:
    fd = await open_at(guest, b"/proc/self/comm", os.O_RDWR)
    assert await guest.write(fd, b"a name that is too long") == 23
    assert await content(guest, b"/proc/self/comm") == b"a name that is \n"
    assert guest.thread.comm == guest.process.comm == b"a name that is "
    other = await machine.guest()
    fd = await open_at(other, b"/proc/%d/comm" % guest.process.pid, os.O_WRONLY)
    assert await other.write(fd, b"x") == -errno.EINVAL
    fd = await open_at(guest, b"/proc/sys/kernel/hostname", os.O_WRONLY)
    assert await guest.write(fd, b"ship\n") == 5
    assert machine.kernel.hostname == b"ship"
    assert await guest.write(fd, b"x" * 65) == -errno.EINVAL


async def test_oom_score_adj(machine: GuestMachine, guest: Guest) -> None:
    fd = await open_at(guest, b"/proc/self/oom_score_adj", os.O_RDWR)
    for data, answer in ((b"500\n", 4), (b"2000", -errno.EINVAL), (b"x", -errno.EINVAL)):
        assert await guest.write(fd, data) == answer
    child = await machine.guest(guest)
    assert await content(child, b"/proc/self/oom_score_adj") == b"500\n"


async def test_files_that_cannot_be_written(guest: Guest) -> None:
    assert await guest.write(await open_at(guest, b"/proc/version", 2), b"x") == -errno.EIO
    assert await guest.write(await open_at(guest, b"/proc/self/stat", 2), b"x") == -errno.EINVAL


# Others' processes ----------------------------------------------------------------------------


async def test_strangers_see_what_is_public(machine: GuestMachine, guest: Guest) -> None:
    stranger = await machine.guest()
    ids = stranger.process.credentials
    stranger.process.credentials = ids.changed(
        ruid=1000, euid=1000, suid=1000, rgid=1000, egid=1000, sgid=1000
    )
    theirs = b"/proc/%d/" % guest.process.pid
    for name in (b"stat", b"status", b"cmdline", b"comm", b"limits"):
        await content(stranger, theirs + name)
    for name in (b"environ", b"maps", b"fd", b"auxv", b"cwd", b"root/etc", b"fd/0", b"smaps"):
        assert await open_at(stranger, theirs + name) == -errno.EACCES, name
    for name in (b"exe", b"cwd", b"root"):
        assert await link(stranger, theirs + name) == -errno.EACCES
    await content(stranger, b"/proc/self/maps")
    assert await names(stranger, b"/proc/self/fd")
    stranger.process.dumpable = 0
    assert await names(stranger, b"/proc/self/fd")
    at = stranger.room(144)
    await stranger.call("stat", await stranger.put(b"/proc/self/maps\0"), at)
    assert struct.unpack_from("<I", await stranger.get(at, 144), 28)[0] == 0
    await content(guest, b"/proc/%d/maps" % stranger.process.pid)  # root may


async def test_zombies_and_the_dead(machine: GuestMachine, guest: Guest) -> None:
    other = await machine.guest()
    process, pid = other.process, other.process.pid
    directory = await open_at(guest, b"/proc/%d" % pid, os.O_DIRECTORY)
    stat_fd = await open_at(guest, b"/proc/%d/stat" % pid)
    await machine.kernel.vm.call(Map(process.space.number, 0x40000000, 4096, 3, 0x32))  # type: ignore[union-attr]
    process.descriptors, descriptors = None, process.descriptors
    process.space, space = None, process.space
    process.directories = None
    process.threads.clear()
    process.zombie = True
    fields = (await content(guest, b"/proc/%d/stat" % pid)).split()
    assert (fields[2], fields[22]) == (b"Z", b"0")
    for name in (b"maps", b"cmdline", b"environ", b"auxv"):
        assert await content(guest, b"/proc/%d/" % pid + name) == b""
    assert await names(guest, b"/proc/%d/fd" % pid) == [b".", b".."]
    for name in (b"exe", b"cwd", b"root"):
        assert await link(guest, b"/proc/%d/" % pid + name) == -errno.ENOENT
    assert b"State:\tZ (zombie)\n" in await content(guest, b"/proc/%d/status" % pid)
    del machine.kernel.processes[pid]
    assert await guest.read(stat_fd, 10) == -errno.ESRCH
    assert await guest.call("getdents64", directory, guest.room(512), 512) == -errno.ENOENT
    assert await open_at(guest, b"/proc/%d" % pid) == -errno.ENOENT
    assert await open_at(guest, b"comm", 0, directory) == -errno.ENOENT
    process.descriptors, process.space = descriptors, space
    machine.kernel.processes[pid] = process
