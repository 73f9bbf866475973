"""Are AF_UNIX pairs what unix(7) says: streams, packets, credentials, descriptors in flight?"""

from __future__ import annotations

import struct
from errno import (
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOTCONN,
    ENOTSOCK,
    EPIPE,
)
from typing import TYPE_CHECKING

import pytest
import trio

from services.proc.abi import O_NONBLOCK, SIGPIPE
from services.proc.files.unix.messages import charge
from services.proc.signals.core import bit

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.proc.guest import Guest, GuestMachine

STREAM, DATAGRAM, SEQPACKET = 1, 2, 5
PEEK, TRUNC, DONTWAIT, WAITALL, NOSIGNAL, CMSG_CLOEXEC = 2, 0x20, 0x40, 0x100, 0x4000, 1 << 30
CTRUNC = 8
ALL_EVENTS = 0x3FFF


async def send(guest: Guest, fd: int, data: bytes, flags: int = 0) -> int:
    return await guest.call("sendto", fd, await guest.put(data), len(data), flags, 0, 0)


async def receive(guest: Guest, fd: int, count: int, flags: int = DONTWAIT) -> bytes | int:
    at = guest.room(count)
    done = await guest.call("recvfrom", fd, at, count, flags, 0, 0)
    return await guest.get(at, min(done, count)) if done >= 0 else done


async def send_message(guest: Guest, fd: int, data: bytes, control: bytes = b"") -> int:
    vector = await guest.put(struct.pack("<QQ", await guest.put(data), len(data)))
    where = await guest.put(control)
    head = struct.pack("<QQQQQQQ", 0, 0, vector, 1, where, len(control), 0)
    return await guest.call("sendmsg", fd, await guest.put(head), 0)


async def receive_message(
    guest: Guest, fd: int, count: int = 100, room: int = 100, flags: int = DONTWAIT
) -> tuple[int, bytes, bytes, int]:
    """Result, data, control and flags."""
    at, where = guest.room(count), guest.room(room)
    vector = await guest.put(struct.pack("<QQ", at, count))
    head = await guest.put(struct.pack("<QQQQQQQ", 0, 0, vector, 1, where, room, 0))
    done = await guest.call("recvmsg", fd, head, flags)
    used, shown = struct.unpack("<QI", await guest.get(head + 40, 12))
    data = await guest.get(at, max(done, 0))
    return done, data, await guest.get(where, used) if done >= 0 else b"", shown


def rights(*fds: int) -> bytes:
    return struct.pack(f"<Qii{len(fds)}i", 16 + 4 * len(fds), 1, 1, *fds)


async def test_a_stream_joins_what_was_sent_apart(guest: Guest) -> None:
    a, b = await guest.socketpair()
    assert [await guest.write(a, b"one"), await send(guest, a, b"two")] == [3, 3]
    assert await receive(guest, b, 4, PEEK) == b"onet"
    assert [await guest.read(b, 2), await guest.read(b, 10)] == [b"on", b"etwo"]
    assert await receive(guest, b, 1) == -EAGAIN


@pytest.mark.parametrize("kind", [DATAGRAM, SEQPACKET])
async def test_packets_keep_their_boundaries(guest: Guest, kind: int) -> None:
    a, b = await guest.socketpair(kind)
    for data in (b"first", b"", b"third"):
        assert await guest.write(a, data) == len(data)
    assert await receive_message(guest, b, 3) == (3, b"fir", b"", TRUNC)
    assert await receive(guest, b, 9) == b""
    assert await guest.call("recvfrom", b, guest.room(2), 2, TRUNC, 0, 0) == 5
    assert await send(guest, a, bytes(212992)) == -EMSGSIZE


# How many sends of a size Linux takes before EAGAIN, and when it calls the socket writable again.
SENDS = {
    (STREAM, 1): 278, (STREAM, 500): 167, (STREAM, 1000): 93, (STREAM, 4096): 44,
    (STREAM, 10000): 17, (DATAGRAM, 1): 278, (DATAGRAM, 500): 167, (DATAGRAM, 1000): 93,
    (DATAGRAM, 4096): 26, (DATAGRAM, 10000): 13, (SEQPACKET, 4096): 26,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "size"), SENDS)
async def test_a_sender_waits_where_linux_does(guest: Guest, kind: int, size: int) -> None:
    a, b = await guest.socketpair(kind | O_NONBLOCK)
    at = await guest.put(bytes(size))
    count = 0
    while await guest.call("write", a, at, size) == size:
        count += 1
    assert count == SENDS[kind, size]
    assert await guest.poll((a, ALL_EVENTS)) == [0]
    while await guest.poll((a, ALL_EVENTS)) == [0]:
        assert await guest.call("read", b, at, size) == size
        count -= 1
    assert count == 212992 // 4 // charge(size, kind == STREAM)


async def test_the_end_of_a_stream(guest: Guest) -> None:
    a, b = await guest.socketpair()
    await guest.write(a, b"last")
    assert await guest.call("shutdown", a, 1) == 0
    assert await guest.poll((b, ALL_EVENTS), (a, ALL_EVENTS)) == [0x2345, 0x304]
    assert [await guest.read(b, 9), await guest.read(b, 9)] == [b"last", b""]
    assert await send(guest, a, b"x", NOSIGNAL) == -EPIPE
    assert guest.thread.pending.mask == 0
    assert await guest.write(a, b"x") == -EPIPE
    assert guest.thread.pending.mask == bit(SIGPIPE)
    assert [await guest.write(b, b"still"), await guest.read(a, 9)] == [5, b"still"]
    assert await guest.call("shutdown", a, 3) == -EINVAL


async def test_closing_with_unread_bytes_resets_the_peer(guest: Guest) -> None:
    a, b = await guest.socketpair()
    await guest.write(a, b"unread")
    await guest.write(b, b"mine")
    await guest.call("close", b)
    assert await guest.poll((a, ALL_EVENTS)) == [0x235D]
    assert [await guest.read(a, 9) for _ in range(3)] == [b"mine", -ECONNRESET, b""]


async def test_a_lonely_datagram_socket_is_refused_then_unconnected(guest: Guest) -> None:
    a, b = await guest.socketpair(DATAGRAM)
    await guest.call("close", b)
    assert [await send(guest, a, b"x") for _ in range(2)] == [-ECONNREFUSED, -ENOTCONN]
    assert await guest.call("getpeername", a, guest.room(8), guest.room(8)) == -ENOTCONN
    assert guest.thread.pending.mask == 0


async def test_descriptors_travel_and_keep_their_files_open(guest: Guest) -> None:
    (a, b), (r, w) = await guest.socketpair(), await guest.pipe()
    assert await send_message(guest, a, b"take", rights(w, w)) == 4
    await guest.call("close", w)
    await guest.write(a, b"more")
    done, data, control, flags = await receive_message(guest, b, flags=CMSG_CLOEXEC)
    assert (done, data, flags) == (4, b"take", CMSG_CLOEXEC)
    head, (one, other) = struct.unpack_from("<Qii", control), struct.unpack_from("<ii", control, 16)
    assert head == (24, 1, 1)
    assert await guest.call("fcntl", one, 1) == 1
    await guest.write(other, b"via")
    await guest.call("close", one)
    await guest.call("close", other)
    assert [await guest.read(r, 9), await guest.read(r, 9)] == [b"via", b""]
    assert await guest.read(b, 9) == b"more"
    assert await send_message(guest, a, b"x", rights(99)) == -EBADF
    assert await send_message(guest, a, b"x", struct.pack("<Qii", 99, 1, 1)) == -EINVAL


async def test_descriptors_that_nobody_takes_are_closed(guest: Guest) -> None:
    for how in ("no room", "plain read", "socket closed"):
        (a, b), (r, w) = await guest.socketpair(), await guest.pipe()
        await send_message(guest, a, b"x", rights(w))
        await guest.call("close", w)
        if how == "no room":
            assert (await receive_message(guest, b, room=0))[3] == CTRUNC
        elif how == "plain read":
            assert await guest.read(b, 1) == b"x"
        else:
            await guest.call("close", b)
        assert await guest.read(r, 1) == b""


async def test_credentials_come_with_messages_that_ask(guest: Guest) -> None:
    a, b = await guest.socketpair()
    one = await guest.put(struct.pack("<i", 1))
    assert await guest.call("setsockopt", b, 1, 16, one, 4) == 0
    await guest.write(a, b"who")
    _, _, control, _ = await receive_message(guest, b)
    expected = struct.pack("<QiiiII", 28, 1, 2, guest.process.pid, 0, 0)
    assert control[:28] == expected


async def test_options_read_back(guest: Guest) -> None:
    a, _ = await guest.socketpair(SEQPACKET)

    async def option(number: int) -> tuple[int, ...]:
        at, length = guest.room(16), await guest.put(struct.pack("<i", 16))
        assert await guest.call("getsockopt", a, 1, number, at, length) == 0
        size = int.from_bytes(await guest.get(length, 4), "little")
        return struct.unpack(f"<{size // 4}i", await guest.get(at, size))

    assert [await option(number) for number in (3, 4, 7, 8)] == [(5,), (0,), (212992,), (212992,)]
    assert await option(17) == (guest.process.pid, 0, 0)
    for value, kept in ((1, 4608), (5000, 10000)):
        at = await guest.put(struct.pack("<i", value))
        assert await guest.call("setsockopt", a, 1, 7, at, 4) == 0
        assert await option(7) == (kept,)


async def test_a_receive_timeout(guest: Guest, autojump_clock: MockClock) -> None:
    a, _ = await guest.socketpair()
    at = await guest.put(struct.pack("<qq", 0, 200_000))
    assert await guest.call("setsockopt", a, 1, 20, at, 16) == 0
    start = trio.current_time()
    assert await guest.read(a, 1) == -EAGAIN
    assert trio.current_time() - start == pytest.approx(0.2, abs=0.01)


async def test_waitall_waits_for_all_of_it(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    a, b = await guest.socketpair()
    other = await machine.guest(guest)

    async def write() -> None:
        for _ in range(3):
            await trio.sleep(1)
            await other.write(a, bytes(100_000))
        await other.write(a, b"tail")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        got = await receive(guest, b, 300_000, WAITALL)
    assert isinstance(got, bytes)
    assert len(got) == 300_000
    assert await guest.read(b, 9) == b"tail"


async def test_what_is_not_there_is_refused_honestly(guest: Guest) -> None:
    (a, _), (r, _) = await guest.socketpair(), await guest.pipe()
    assert await guest.call("socket", 2, 1, 0) == -EAFNOSUPPORT
    assert await guest.call("shutdown", r, 0) == -ENOTSOCK
    name = await guest.put(struct.pack("<H10s", 1, b"/nobody"))
    await guest.call("mkdir", name + 2, 0o755)
    assert await guest.call("sendto", a, name, 1, 0, name, 12) == -EISCONN
