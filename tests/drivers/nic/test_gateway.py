"""Do a guest's programs and the host's reach each other through the gateway, as through a wire?"""

from __future__ import annotations

import errno
import hashlib
import random
import shutil
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio

from services.drivers.nic.settings import Published
from services.drivers.nic.user import plan
from services.net.proto import icmp
from services.net.tcp.limits import Settings
from services.net.tcp.state import SYN_SENT
from tests.drivers.nic.hostside import HERE, MIB, echo, free_port, serve, started, until
from tests.drivers.nic.peer import Guest, Stream

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_left")

BULK_BYTES = 50 * MIB
PUBLISHED = Published(HERE, 0, 80)


async def published(nursery: trio.Nursery) -> tuple[Guest, int]:
    guest = await started(nursery, PUBLISHED)
    return guest, guest.backend.ports[0]


async def pair(nursery: trio.Nursery) -> tuple[Guest, trio.SocketStream, Stream]:
    """A host's client and the guest's server behind a published port."""
    guest, port = await published(nursery)
    listener = guest.listen(80)
    client = await trio.open_tcp_stream(HERE, port)
    return guest, client, await listener.accept()


async def test_a_guest_reaches_the_hosts_loopback(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    port = await serve(nursery, echo)
    stream = await guest.open(plan.GATEWAY, port)
    await stream.send_all(b"hello")
    assert await stream.receive_some() == b"hello"
    stream.shutdown()
    assert await stream.receive_some() == b""
    await until(lambda: not guest.backend.flows)
    nursery.cancel_scope.cancel()


async def test_ipv6_leads_to_the_same_places(nursery: trio.Nursery) -> None:
    try:
        listeners = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        pytest.skip("this host has no IPv6")
    nursery.start_soon(trio.serve_listeners, echo, listeners)
    guest = await started(nursery)
    stream = await guest.open(plan.GATEWAY_V6, listeners[0].socket.getsockname()[1])
    data = bytes(100_000)
    nursery.start_soon(stream.send_all, data)
    got = b""
    while len(got) < len(data):
        got += await stream.receive_some()
    assert got == data
    nursery.cancel_scope.cancel()


async def test_a_published_port_reaches_the_guest(nursery: trio.Nursery) -> None:
    _, client, server = await pair(nursery)
    assert server.connection.remote[0] == plan.GATEWAY
    async with client:
        await client.send_all(b"GET")
        assert await server.receive_some() == b"GET"
        await server.send_all(b"200")
        assert await client.receive_some() == b"200"
        server.close()
        assert await client.receive_some() == b""
    nursery.cancel_scope.cancel()


async def test_a_server_that_speaks_first(nursery: trio.Nursery) -> None:
    async def banner(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"220 ready")

    guest = await started(nursery)
    stream = await guest.open(plan.GATEWAY, await serve(nursery, banner))
    assert await stream.receive_all() == b"220 ready"
    nursery.cancel_scope.cancel()


async def test_what_the_host_refuses_is_refused(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    with pytest.raises(ConnectionRefusedError):
        await guest.open(plan.GATEWAY, free_port())
    with pytest.raises(ConnectionRefusedError):
        await guest.open(plan.DNS, 22)
    assert not guest.backend.flows
    nursery.cancel_scope.cancel()


async def test_what_the_guest_refuses_is_reset(nursery: trio.Nursery) -> None:
    guest, port = await published(nursery)

    def call() -> None:
        with socket.socket() as client:
            client.connect((HERE, port))  # may be reset already
            client.recv(1)

    with pytest.raises(ConnectionResetError):
        await trio.to_thread.run_sync(call)
    await until(lambda: not guest.backend.flows)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENETUNREACH, icmp.NET_UNREACHABLE),
        (errno.EHOSTUNREACH, icmp.HOST_UNREACHABLE),
        (errno.EACCES, icmp.ADMIN_PROHIBITED),
    ],
)
async def test_what_the_host_cannot_reach_is_told_by_icmp(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    guest = await started(nursery)
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, address: number)
    guest.enter()
    guest.tcp.open((plan.GUEST, 4000), (b"\x08\x08\x08\x08", 443), Settings())
    guest.leave()
    reporter, message = await guest.message()
    assert (reporter, message.type, message.code) == (plan.GATEWAY, icmp.DEST_UNREACHABLE, code)
    quoted = bytes(message.body)
    assert quoted[12:20] == plan.GUEST + b"\x08\x08\x08\x08"
    assert struct.unpack_from(">HH", quoted, 20) == (4000, 443)
    nursery.cancel_scope.cancel()


async def test_a_neighbour_that_is_not_there(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    guest.enter()
    guest.tcp.open((plan.GUEST, 4000), (b"\x0a\0\2\x63", 443), Settings())
    guest.leave()
    _, message = await guest.message()
    assert (message.type, message.code) == (icmp.DEST_UNREACHABLE, icmp.HOST_UNREACHABLE)
    nursery.cancel_scope.cancel()


# the ends of connections


async def test_each_side_may_end_its_half_alone(nursery: trio.Nursery) -> None:
    guest, client, server = await pair(nursery)
    await client.send_all(b"question")
    await client.send_eof()
    assert await server.receive_all() == b"question"
    await server.send_all(b"answer" * 10_000)
    server.shutdown()
    got = b"".join([piece async for piece in client])
    assert got == b"answer" * 10_000
    await client.aclose()
    await until(lambda: not guest.backend.flows)
    nursery.cancel_scope.cancel()


async def test_a_guests_half_close_reaches_the_host(nursery: trio.Nursery) -> None:
    async def count(stream: trio.SocketStream) -> None:
        async with stream:
            total = sum([len(data) async for data in stream])
            await stream.send_all(str(total).encode())

    guest = await started(nursery)
    stream = await guest.open(plan.GATEWAY, await serve(nursery, count))
    await stream.send_all(bytes(300_000))
    stream.shutdown()
    assert await stream.receive_all() == b"300000"
    await until(lambda: not guest.backend.flows)
    nursery.cancel_scope.cancel()


async def test_a_guests_reset_reaches_the_host(nursery: trio.Nursery) -> None:
    guest, client, server = await pair(nursery)
    await server.send_all(b"last words")
    assert await client.receive_some() == b"last words"
    server.abort()
    with pytest.raises(trio.BrokenResourceError) as told:
        await client.receive_some()
    assert isinstance(told.value.__cause__, ConnectionResetError)
    await client.aclose()
    assert not guest.backend.flows
    nursery.cancel_scope.cancel()


async def test_a_hosts_reset_reaches_the_guest(nursery: trio.Nursery) -> None:
    guest, client, server = await pair(nursery)
    await client.send_all(b"x")
    assert await server.receive_some() == b"x"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await client.aclose()
    with pytest.raises(ConnectionResetError):
        await server.receive_some()
    assert not guest.backend.flows
    nursery.cancel_scope.cancel()


async def test_a_host_that_is_slow_to_connect(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    with socket.socket() as server, socket.socket() as first:
        server.bind((HERE, 0))
        server.listen(0)
        first.connect(server.getsockname())  # the backlog is full: the next SYN is dropped
        guest.enter()
        source, target = (plan.GUEST, 4000), (plan.GATEWAY, server.getsockname()[1])
        stream = Stream(guest, guest.tcp.open(source, target, Settings()))
        guest.leave()
        await trio.sleep(0.1)
        assert stream.connection.state == SYN_SENT
        server.accept()[0].close()
        with trio.fail_after(10):
            await stream.connect()  # the host's kernel has tried again
        server.accept()[0].close()
        assert await stream.receive_some() == b""
    nursery.cancel_scope.cancel()


# much data


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def send_noise(send: object, data: bytes) -> None:
    for at in range(0, len(data), 200_000):
        await send(data[at : at + 200_000])  # type: ignore[operator]


async def test_fifty_megabytes_each_way_at_once(nursery: trio.Nursery) -> None:
    guest, client, server = await pair(nursery)
    data = noise(BULK_BYTES)
    digest = hashlib.sha256(data).digest()
    from_guest, from_host = hashlib.sha256(), hashlib.sha256()

    async def host_sends() -> None:
        await send_noise(client.send_all, data)
        await client.send_eof()

    async def guest_sends() -> None:
        await send_noise(server.send_all, data)
        server.shutdown()

    async def host_receives() -> None:
        async for piece in client:
            from_guest.update(piece)

    async def guest_receives() -> None:
        while piece := await server.receive_some(1 << 18):
            from_host.update(piece)

    with trio.fail_after(60):
        async with trio.open_nursery() as work:
            for task in (host_sends, guest_sends, host_receives, guest_receives):
                work.start_soon(task)
    assert from_guest.digest() == digest
    assert from_host.digest() == digest
    assert guest.gso_received > 100  # in pieces of up to 64 KiB, not of an MTU
    assert guest.service.link.sent_frames < BULK_BYTES // 10_000
    await client.aclose()
    await until(lambda: not guest.backend.flows)
    nursery.cancel_scope.cancel()


async def test_fifty_megabytes_out_and_back(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    stream = await guest.open(plan.GATEWAY, await serve(nursery, echo))
    data = noise(BULK_BYTES)
    digest = hashlib.sha256()

    async def send() -> None:
        await send_noise(stream.send_all, data)
        stream.shutdown()

    with trio.fail_after(60):
        async with trio.open_nursery() as work:
            work.start_soon(send)
            while piece := await stream.receive_some(1 << 18):
                digest.update(piece)
    assert digest.digest() == hashlib.sha256(data).digest()
    nursery.cancel_scope.cancel()


async def fill(client: trio.SocketStream) -> bytes:
    """Send until the host's kernel takes no more for a while; what was sent."""
    sent = b""
    block = noise(MIB)
    while True:
        try:
            count = client.socket._sock.send(block)  # type: ignore[attr-defined]
            sent += block[:count]
        except BlockingIOError:
            await trio.sleep(0.05)
            try:
                count = client.socket._sock.send(block)  # type: ignore[attr-defined]
                sent += block[:count]
            except BlockingIOError:
                return sent


async def test_a_guest_that_does_not_read_stops_the_host(nursery: trio.Nursery) -> None:
    guest, client, server = await pair(nursery)
    with trio.fail_after(30):
        sent = await fill(client)
    assert len(sent) < 40 * MIB
    assert server.connection.readable_bytes <= server.connection.receive_limit
    (flow,) = guest.backend.flows._open
    assert flow.connection.unacked_bytes <= flow.connection.send_limit
    await client.send_eof()
    with trio.fail_after(30):
        got = await server.receive_all()
    await client.aclose()
    assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()
    nursery.cancel_scope.cancel()


async def test_a_host_that_does_not_read_stops_the_guest(nursery: trio.Nursery) -> None:
    guest, client, server = await pair(nursery)
    block, sent = noise(MIB), 0
    with trio.move_on_after(2):
        while True:
            await server.send_all(block)
            sent += len(block)
    assert sent < 40 * MIB
    (flow,) = guest.backend.flows._open
    assert flow.connection.readable_bytes <= flow.connection.receive_limit
    unread = server.connection.unacked_bytes
    got = 0
    with trio.fail_after(30):
        while got < sent:
            got += len(await client.receive_some(1 << 18))
    assert unread <= server.connection.send_limit
    await client.aclose()
    nursery.cancel_scope.cancel()


async def test_without_receive_buffers_the_gateway_waits(nursery: trio.Nursery) -> None:
    guest, client, server = await pair(nursery)
    guest.refill = False
    data, got = noise(8 * MIB), b""

    async def send() -> None:
        await client.send_all(data)
        await client.send_eof()

    async def receive() -> None:
        nonlocal got
        got = await server.receive_all()

    with trio.fail_after(30):
        async with client, trio.open_nursery() as work:
            work.start_soon(send)
            work.start_soon(receive)
            await until(lambda: bool(guest.backend.gateway.backlog))
            await trio.sleep(0.05)
            assert guest.receive.outstanding == 0
            assert len(guest.backend.gateway.backlog) < 1000
            guest.give_back()
    assert got == data
    assert guest.backend.gateway.dropped == 0
    assert guest.service.counters()["dropped_backlog"] == 0
    nursery.cancel_scope.cancel()


async def test_a_thousand_connections_at_once(nursery: trio.Nursery) -> None:
    guest, port = await published(nursery)
    listener = guest.listen(80, backlog=1024)
    done = 0

    async def answer(stream: Stream) -> None:
        while data := await stream.receive_some():
            await stream.send_all(data)
        stream.close()

    async def accept() -> None:
        while True:
            nursery.start_soon(answer, await listener.accept())

    async def ask(number: int) -> None:
        nonlocal done
        async with await trio.open_tcp_stream(HERE, port) as client:
            question = b"%d" % number
            await client.send_all(question)
            assert await client.receive_some() == question
            done += 1
            await until(lambda: done == 1000, 60)  # all are open at the same time

    nursery.start_soon(accept)
    with trio.fail_after(60):
        async with trio.open_nursery() as clients:
            for number in range(1000):
                clients.start_soon(ask, number)
    await until(lambda: not guest.backend.flows)
    assert guest.backend.flows.accepted == 1000
    nursery.cancel_scope.cancel()


async def test_a_thousand_connections_of_the_guests(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    port = await serve(nursery, echo)
    streams = [await guest.open(plan.GATEWAY, port) for _ in range(1000)]
    for number, stream in enumerate(streams):
        await stream.send_all(b"%d" % number)
    for number, stream in enumerate(streams):
        assert await stream.receive_some() == b"%d" % number
        stream.close()
    await until(lambda: not guest.backend.flows)
    nursery.cancel_scope.cancel()


async def test_the_number_of_connections_is_bounded(nursery: trio.Nursery) -> None:
    guest, port = await published(nursery)
    guest.listen(80)
    guest.backend.flows.limit = 2
    clients = [await trio.open_tcp_stream(HERE, port) for _ in range(3)]
    assert await clients[2].receive_some() == b""
    assert guest.backend.flows.refused == 1
    with pytest.raises(ConnectionRefusedError):
        await guest.open(plan.GATEWAY, port)
    for client in clients:
        await client.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
async def test_wireshark_finds_nothing_wrong_with_a_capture(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    path = str(tmp_path / "x.pcap")
    guest = await started(nursery, PUBLISHED, pcap=path)
    listener = guest.listen(80)
    async with await trio.open_tcp_stream(HERE, guest.backend.ports[0]) as client:
        server = await listener.accept()
        data = noise(MIB)
        nursery.start_soon(client.send_all, data)
        got = b""
        while len(got) < len(data):
            got += await server.receive_some()
        nursery.start_soon(server.send_all, data)
        back = b""
        while len(back) < len(data):
            back += await client.receive_some(1 << 18)
    await guest.stop()
    wrong = "tcp.checksum.status != 1 || ip.checksum.status != 1 || tcp.analysis.lost_segment"
    words = ["tshark", "-r", path, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    found = await trio.run_process([*words, "-Y", wrong], capture_stdout=True, stderr=-3)
    assert found.stdout == b""
    query = ["-T", "fields", "-e", "tcp.len"]
    shown = await trio.run_process([*words, *query], capture_stdout=True, stderr=-3)
    lengths = [int(line) for line in shown.stdout.split()]
    assert sum(lengths) == 2 * MIB
    assert max(lengths) == 1448
    nursery.cancel_scope.cancel()


# what survives


async def test_a_guest_that_starts_anew_resets_what_it_has_forgotten(nursery: trio.Nursery) -> None:
    guest, client, _ = await pair(nursery)
    guest.service.rings.detach()
    guest.tcp.connections.clear()
    guest.tcp.listeners.clear()
    guest.reset()
    await client.send_all(b"are you there?")
    await guest.attach(guest.service)
    with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    await client.aclose()
    await until(lambda: not guest.backend.flows)
    nursery.cancel_scope.cancel()


async def test_stopping_resets_everything(nursery: trio.Nursery) -> None:
    guest, client, _ = await pair(nursery)
    await guest.stop()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    await client.aclose()
    nursery.cancel_scope.cancel()
