"""Do datagrams find their way through the gateway and back, and are errors about them told?"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from services.drivers.nic.settings import Published
from services.drivers.nic.user import datagrams, mapping, plan
from services.drivers.nic.user.resolver import Resolver, parse
from services.net.proto import icmp
from tests.drivers.nic.hostside import HERE, free_port, started, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.nic.peer import Guest

pytestmark = pytest.mark.usefixtures("nothing_left")


def host_socket() -> trio.socket.SocketType:
    made = trio.socket.from_stdlib_socket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made._sock.bind((HERE, 0))  # type: ignore[attr-defined]
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return made


async def ask(guest: Guest, server: trio.socket.SocketType, data: bytes = b"q") -> tuple[str, int]:
    """The guest's datagram arrives at the host's server; from where."""
    guest.send_datagram(5000, plan.GATEWAY, server.getsockname()[1], data)
    with trio.fail_after(10):
        got, client = await server.recvfrom(70_000)
    assert got == data
    return client


async def test_a_question_and_its_answer(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    with host_socket() as server:
        client = await ask(guest, server)
        await server.sendto(b"answer", client)
        answer = await guest.datagram()
        assert answer == (plan.GATEWAY, server.getsockname()[1], 5000, b"answer")
    nursery.cancel_scope.cancel()


async def test_one_port_of_the_guests_is_one_port_of_the_hosts(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    with host_socket() as one, host_socket() as other, host_socket() as stranger:
        client = await ask(guest, one)
        assert await ask(guest, other) == client
        await stranger.sendto(b"unasked", client)
        await other.sendto(b"from other", client)
        assert (await guest.datagram())[3] == b"from other"  # the stranger was not let in
        assert guest.backend.datagrams.dropped == 1
        assert len(guest.backend.datagrams) == 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 9000, 65507])
async def test_datagrams_of_every_size_come_back(nursery: trio.Nursery, size: int) -> None:
    guest = await started(nursery)
    data = bytes(at & 0xFF for at in range(size))
    with host_socket() as server:
        guest.send_datagram(5000, plan.GATEWAY, server.getsockname()[1], data)
        with trio.fail_after(10):
            got, client = await server.recvfrom(70_000)
        assert got == data
        await server.sendto(data, client)
        assert (await guest.datagram())[3] == data
    nursery.cancel_scope.cancel()


async def test_a_port_where_nobody_listens_is_told(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    port = free_port(socket.SOCK_DGRAM)
    guest.send_datagram(5000, plan.GATEWAY, port, b"anybody?")
    reporter, message = await guest.message()
    assert reporter == plan.GATEWAY
    assert (message.type, message.code) == (icmp.DEST_UNREACHABLE, icmp.PORT_UNREACHABLE)
    quoted = bytes(message.body)
    assert quoted[12:20] == plan.GUEST + plan.GATEWAY
    assert quoted[20:24] == (5000).to_bytes(2, "big") + port.to_bytes(2, "big")
    assert quoted.endswith(b"anybody?")
    with host_socket() as server:  # the mapping goes on
        await ask(guest, server)
    nursery.cancel_scope.cancel()


async def test_places_that_lead_nowhere(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    guest.send_datagram(5000, b"\x0a\0\2\x63", 9, b"x")
    assert (await guest.message())[1].code == icmp.HOST_UNREACHABLE
    guest.send_datagram(5000, plan.DNS, 9, b"x")
    assert (await guest.message())[1].code == icmp.PORT_UNREACHABLE
    for group in (b"\xe0\0\0\xfb", b"\xff\xff\xff\xff", b"\x0a\0\2\xff"):
        guest.send_datagram(5000, group, 9, b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert not guest.messages  # groups are not told
    assert not guest.backend.datagrams
    nursery.cancel_scope.cancel()


async def test_names_are_asked_of_the_hosts_server(nursery: trio.Nursery, tmp_path: Path) -> None:
    guest = await started(nursery)
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("search x\nnameserver 127.77.7.7\nnameserver 9.9.9.9\n")
    guest.backend.datagrams._resolver = Resolver(str(resolv))
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            await server.bind(("127.77.7.7", plan.DNS_PORT))
        except PermissionError:
            pytest.skip("needs the right to bind port 53")
        guest.send_datagram(5000, plan.DNS, plan.DNS_PORT, b"who is x?")
        with trio.fail_after(10):
            question, client = await server.recvfrom(100)
        assert question == b"who is x?"
        await server.sendto(b"nobody", client)
        assert await guest.datagram() == (plan.DNS, plan.DNS_PORT, 5000, b"nobody")
    assert plan.to_host((plan.DNS, 54), lambda: b"\x7f\0\0\1") is None
    nursery.cancel_scope.cancel()


def test_resolv_conf(tmp_path: Path) -> None:
    assert parse("nameserver fe80::1%eth0\nnameserver ::1\n") == bytes(15) + b"\1"
    assert parse("# nameserver 1.1.1.1\nnameserver\nnameserver x\n") == b"\x7f\0\0\1"
    path = tmp_path / "resolv.conf"
    resolver = Resolver(str(path))
    assert resolver.name_server() == b"\x7f\0\0\1"
    path.write_text("nameserver 1.2.3.4")
    assert resolver.name_server() == b"\1\2\3\4"
    path.unlink()
    path.write_text("nameserver 5.6.7.8\n\n")
    assert resolver.name_server() == b"\5\6\7\x08"


# published ports


async def test_clients_of_a_published_port_are_told_apart(nursery: trio.Nursery) -> None:
    guest = await started(nursery, Published(HERE, 0, 53, udp=True))
    (port,) = guest.backend.ports
    with host_socket() as one, host_socket() as other:
        await one.sendto(b"one", (HERE, port))
        first = await guest.datagram()
        await other.sendto(b"other", (HERE, port))
        second = await guest.datagram()
        assert [first[0], first[2], first[3]] == [plan.GATEWAY, 53, b"one"]
        assert first[1] != second[1]
        for client in (second, first):
            guest.send_datagram(53, plan.GATEWAY, client[1], b"to " + client[3])
        with trio.fail_after(10):
            assert await one.recvfrom(100) == (b"to one", (HERE, port))
            assert await other.recvfrom(100) == (b"to other", (HERE, port))
        await one.sendto(b"again", (HERE, port))
        assert (await guest.datagram())[1] == first[1]
    nursery.cancel_scope.cancel()


# bounds


async def test_idle_mappings_are_forgotten(nursery: trio.Nursery) -> None:
    guest = await started(nursery, Published(HERE, 0, 53, udp=True))
    backend = guest.backend
    with host_socket() as server:
        client = await ask(guest, server)
        await server.sendto(b"x", (HERE, backend.ports[0]))
        await guest.datagram()
        await server.sendto(b"x", client)
        await guest.datagram()
        backend.gateway.now_ns += mapping.ANSWERED_NS - 1_000_000_000
        backend.datagrams.expire()
        assert len(backend.datagrams) == 1
        backend.gateway.now_ns += 2_000_000_000
        backend.datagrams.expire()
        assert len(backend.datagrams) == 0
        assert not backend.datagrams._published[53][0]._clients
    nursery.cancel_scope.cancel()


async def test_unanswered_mappings_are_forgotten_sooner(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    with host_socket() as server:
        await ask(guest, server)
        guest.backend.gateway.now_ns += mapping.UNANSWERED_NS + 1
        guest.backend.datagrams.expire()
        assert len(guest.backend.datagrams) == 0
    nursery.cancel_scope.cancel()


async def test_the_number_of_mappings_is_bounded(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "MAX_MAPPINGS", 3)
    guest = await started(nursery)
    with host_socket() as server:
        for port in range(5000, 5010):
            guest.send_datagram(port, plan.GATEWAY, server.getsockname()[1], b"x")
        assert len(guest.backend.datagrams) == 3
        ports = [key[0][1] for key in guest.backend.datagrams._mappings]
        assert ports == [5007, 5008, 5009]
    nursery.cancel_scope.cancel()


async def test_without_receive_buffers_datagrams_wait_in_the_host(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    with host_socket() as server:
        client = await ask(guest, server)
        guest.refill = False
        for number in range(100):
            await server.sendto(b"%d" % number, client)
        await until(lambda: guest.receive.outstanding == 0)
        await trio.sleep(0.02)
        assert len(guest.backend.gateway.backlog) == 1
        guest.give_back()
        await until(lambda: len(guest.datagrams) == 100)
    assert [int(one[3]) for one in guest.datagrams] == list(range(100))
    nursery.cancel_scope.cancel()
