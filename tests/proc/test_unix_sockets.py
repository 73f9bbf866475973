"""Do AF_UNIX sockets find each other, wait for each other, and leave nothing behind (unix(7))?"""

from __future__ import annotations

import struct
from errno import (
    EADDRINUSE,
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMFILE,
    ENOENT,
    EPERM,
    EPROTOTYPE,
)
from typing import TYPE_CHECKING

import pytest
import trio

from services.proc.abi import O_NONBLOCK
from services.proc.files.unix.listing import listing
from services.proc.files.unix.registry import registry_of
from tests.proc.test_events_sockets import receive, receive_message, rights, send, send_message

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.proc.guest import Guest, GuestMachine

STREAM, DATAGRAM, SEQPACKET = 1, 2, 5
OOB, DONTWAIT, WAITALL = 1, 0x40, 0x100
POLLPRI, POLLOUT = 2, 4
SOCKNAME_BYTES = 128


async def named(guest: Guest, call: str, fd: int, path: bytes) -> int:
    name = struct.pack("<H", 1) + path
    return await guest.call(call, fd, await guest.put(name), len(name))


async def bind(guest: Guest, fd: int, path: bytes) -> int:
    return await named(guest, "bind", fd, path)


async def connect(guest: Guest, fd: int, path: bytes) -> int:
    return await named(guest, "connect", fd, path)


async def name_of(guest: Guest, call: str, fd: int) -> bytes:
    at, size = guest.room(SOCKNAME_BYTES), await guest.put(struct.pack("<i", SOCKNAME_BYTES))
    assert await guest.call(call, fd, at, size) == 0
    return await guest.get(at, int.from_bytes(await guest.get(size, 4), "little"))


async def listener(guest: Guest, path: bytes, kind: int = STREAM, backlog: int = 9) -> int:
    fd = await guest.call("socket", 1, kind, 0)
    assert [await bind(guest, fd, path), await guest.call("listen", fd, backlog)] == [0, 0]
    return fd


async def client(guest: Guest, path: bytes, kind: int = STREAM) -> int:
    fd = await guest.call("socket", 1, kind, 0)
    assert await connect(guest, fd, path) == 0
    return fd


@pytest.mark.parametrize("kind", [STREAM, SEQPACKET])
@pytest.mark.parametrize("path", [b"\0abstract", b"\0"])
async def test_a_client_is_served_before_and_after_accept(
    guest: Guest, kind: int, path: bytes
) -> None:
    server = await listener(guest, path, kind)
    fd = await client(guest, path, kind)
    await guest.write(fd, b"early")
    accepted = await guest.call("accept4", server, 0, 0, O_NONBLOCK)
    assert await guest.read(accepted, 9) == b"early"
    assert await guest.write(accepted, b"answer") == 6
    assert await guest.read(fd, 9) == b"answer"
    assert await name_of(guest, "getpeername", fd) == b"\1\0" + path
    assert await name_of(guest, "getpeername", accepted) == b"\1\0"
    assert await connect(guest, fd, path) == -EISCONN


async def test_names_are_taken_and_given_back(guest: Guest) -> None:
    first = await listener(guest, b"\0name")
    second = await guest.call("socket", 1, STREAM, 0)
    assert await bind(guest, second, b"\0name") == -EADDRINUSE
    assert await bind(guest, first, b"\0other") == -EINVAL
    packets = await guest.call("socket", 1, DATAGRAM, 0)
    assert await bind(guest, packets, b"\0name") == 0, "each type has names of its own"
    await guest.call("close", first)
    assert await connect(guest, second, b"\0name") == -ECONNREFUSED
    assert await bind(guest, second, b"\0name") == 0


async def test_a_socket_chooses_a_name_when_asked(guest: Guest) -> None:
    names = set()
    for _ in range(3):
        fd = await guest.call("socket", 1, STREAM, 0)
        assert await bind(guest, fd, b"") == 0
        names.add(await name_of(guest, "getsockname", fd))
    assert len(names) == 3
    assert all(len(name) == 8 and name[2:3] == b"\0" for name in names)


async def test_paths_lead_to_sockets(guest: Guest) -> None:
    directory = await guest.put(b"/d\0")
    assert await guest.call("mkdir", directory, 0o755) == 0
    server = await listener(guest, b"/d/s\0")
    assert await name_of(guest, "getsockname", server) == b"\1\0/d/s\0"
    await client(guest, b"/d/s")
    packets = await guest.call("socket", 1, DATAGRAM, 0)
    assert await connect(guest, packets, b"/d/s") == -EPROTOTYPE
    assert await bind(guest, packets, b"/d/s") == -EADDRINUSE
    link, path = await guest.put(b"/d/l\0"), await guest.put(b"/d/s\0")
    assert await guest.call("link", path, link) == 0
    assert await guest.call("unlink", path) == 0
    other = await guest.call("socket", 1, STREAM, 0)
    assert await connect(guest, other, b"/d/s") == -ENOENT
    assert await connect(guest, other, b"/d/l") == 0, "the inode counts, not the name"
    await guest.call("close", server)
    last = await guest.call("socket", 1, STREAM, 0)
    assert await connect(guest, last, b"/d/l") == -ECONNREFUSED


async def test_a_full_backlog(machine: GuestMachine, autojump_clock: MockClock) -> None:
    guest = await machine.guest()
    server = await listener(guest, b"\0s", backlog=0)
    await client(guest, b"\0s")
    eager = await guest.call("socket", 1, STREAM | O_NONBLOCK, 0)
    assert await connect(guest, eager, b"\0s") == -EAGAIN
    patient = await guest.call("socket", 1, STREAM, 0)
    other = await machine.guest(guest)

    async def accept() -> None:
        await trio.sleep(2)
        assert await other.call("accept", server, 0, 0) > 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        assert await connect(guest, patient, b"\0s") == 0
    assert trio.current_time() >= 2


async def test_a_listener_that_closes_resets_whom_it_did_not_accept(guest: Guest) -> None:
    server = await listener(guest, b"\0s")
    fd = await client(guest, b"\0s")
    await guest.call("close", server)
    assert await guest.read(fd, 1) == -ECONNRESET
    assert await guest.read(fd, 1) == b""


async def test_accept_needs_a_number_before_it_takes_a_connection(guest: Guest) -> None:
    server = await listener(guest, b"\0s")
    await client(guest, b"\0s")
    limits = guest.process.limits
    before, limits[7] = limits[7], (2, 2)
    assert await guest.call("accept", server, 0, 0) == -EMFILE
    limits[7] = before
    assert await guest.call("accept", server, 0, 0) > 0, "the connection was not lost"


async def test_a_receiver_takes_so_many_datagrams(guest: Guest) -> None:
    receiver = await guest.call("socket", 1, DATAGRAM, 0)
    await bind(guest, receiver, b"\0r")
    sender = await guest.call("socket", 1, DATAGRAM | O_NONBLOCK, 0)
    assert await connect(guest, sender, b"\0r") == 0
    count = 0
    while await guest.write(sender, b"x") == 1:
        count += 1
    assert count == 11
    assert await guest.poll((sender, POLLOUT)) == [0]
    assert await guest.read(receiver, 1) == b"x"
    assert await guest.poll((sender, POLLOUT)) == [POLLOUT]


async def test_a_connected_datagram_socket_hears_its_peer_only(guest: Guest) -> None:
    a, b = await guest.socketpair(DATAGRAM)
    assert await bind(guest, a, b"\0a") == 0
    stranger = await guest.call("socket", 1, DATAGRAM, 0)
    assert await connect(guest, stranger, b"\0a") == -EPERM
    await guest.write(b, b"lost")
    nobody = await guest.put(bytes(16))
    assert await guest.call("connect", a, nobody, 16) == 0
    assert await receive(guest, a, 9) == -EAGAIN
    assert await receive(guest, b, 9) == -ECONNRESET
    assert await connect(guest, stranger, b"\0a") == 0


async def test_an_urgent_byte_is_a_mark(guest: Guest) -> None:
    a, b = await guest.socketpair()
    assert await send(guest, a, b"abU", OOB) == 3
    await guest.write(a, b"cd")
    assert await guest.poll((b, POLLPRI)) == [POLLPRI]
    assert await receive(guest, b, 9) == b"ab", "a receive stops before the mark"
    assert await receive(guest, b, 1, OOB) == b"U"
    assert await receive(guest, b, 9) == b"cd"
    assert await receive(guest, b, 1, OOB) == -EINVAL


@pytest.mark.parametrize("how", ["itself", "each other", "not accepted"])
async def test_descriptors_that_nobody_can_receive_are_closed(guest: Guest, how: str) -> None:
    r, w = await guest.pipe()
    a, b = await guest.socketpair()
    fds = [a, b]
    if how == "itself":
        await send_message(guest, a, b"x", rights(b, w))
    elif how == "each other":
        c, d = await guest.socketpair()
        await send_message(guest, a, b"x", rights(d, w))
        await send_message(guest, c, b"x", rights(b))
        fds += [c, d]
    else:
        server = await listener(guest, b"\0s")
        fd = await client(guest, b"\0s")
        await send_message(guest, fd, b"x", rights(server, w))
        fds += [server, fd]
    for fd in [*reversed(fds), w]:
        assert await guest.call("close", fd) == 0
    assert await guest.read(r, 1) == b""
    registry = registry_of(guest.kernel)
    assert (registry.sockets, registry.parcels, registry.users) == ({}, {}, {})


async def test_descriptors_in_flight_stay_open_while_somebody_can_receive_them(
    guest: Guest,
) -> None:
    (outer, a), (b, c), (r, w) = (
        await guest.socketpair(),
        await guest.socketpair(),
        await guest.pipe(),
    )
    await send_message(guest, a, b"x", rights(c))
    await send_message(guest, b, b"x", rights(w))
    for fd in (b, c, w, a):
        await guest.call("close", fd)
    _, _, control, _ = await receive_message(guest, outer)
    (inner,) = struct.unpack_from("<i", control, 16)
    _, _, control, _ = await receive_message(guest, inner)
    (pipe,) = struct.unpack_from("<i", control, 16)
    assert await guest.write(pipe, b"alive") == 5
    assert await guest.read(r, 9) == b"alive"


async def test_what_is_left_in_the_kernel_when_all_is_closed(guest: Guest) -> None:
    server = await listener(guest, b"\0s")
    for _ in range(3):
        await client(guest, b"\0s")
    await guest.call("accept", server, 0, 0)
    assert len(listing(guest.kernel).splitlines()) == 1 + 1 + 3 + 3
    await guest.close_all()
    registry = registry_of(guest.kernel)
    left = (registry.sockets, registry.abstract, registry.paths, registry.parcels)
    assert left == ({}, {}, {}, {})


async def test_the_list_of_sockets_reads_like_linuxs(guest: Guest) -> None:
    await listener(guest, b"\0a\0b", SEQPACKET)
    await guest.socketpair(DATAGRAM)
    heading, first, second, _ = listing(guest.kernel).decode().splitlines()
    assert heading.split() == [
        "Num",
        "RefCount",
        "Protocol",
        "Flags",
        "Type",
        "St",
        "Inode",
        "Path",
    ]
    assert first.split()[1:6] == ["00000002", "00000000", "00010000", "0005", "01"]
    assert first.endswith(" @a@b")
    assert second.split()[1:6] == ["00000003", "00000000", "00000000", "0002", "03"]
