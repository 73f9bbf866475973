"""Is a port that cannot be published refused at boot, with its cause and what to do?"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

from boot.cli import main
from services.drivers.nic.service import NicService
from services.drivers.nic.settings import LinkRefused, Network, Published
from services.drivers.nic.user.publish import bind
from tests.drivers.nic.guest import Net
from tests.drivers.nic.hostside import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind((HERE, 0))
        holder.listen()
        yield holder.getsockname()[1]


def card(*published: Published) -> NicService:
    net = Net()
    return NicService(net.ram, net.wires, Network("user"), published)


def test_a_port_that_is_taken(taken: int) -> None:
    free = Published(HERE, 0, 81)
    with pytest.raises(LinkRefused) as told:
        card(free, Published(HERE, taken, 80))
    assert str(told.value).startswith(f"publish {HERE}:{taken}/tcp: Address already in use (")
    assert f"sport = {taken}" in told.value.cure
    assert f"-p {taken + 1}:80" in told.value.cure


def test_the_command_line_says_it_on_one_line(
    taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "-p", f"{HERE}:{taken}:80", "--", "/bin/true"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"hardtack: error: publish {HERE}:{taken}/tcp: Address already in use")
    assert shown.count("\n") == 1


def test_an_address_that_is_not_the_hosts() -> None:
    with pytest.raises(LinkRefused, match=r"203\.0\.113\.9:8080/udp: .*see ip address"):
        card(Published("203.0.113.9", 8080, 80, udp=True))


def test_a_privileged_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(LinkRefused, match=r"0\.0\.0\.0:80/tcp: Permission denied .*-p 8080:80"):
        card(Published("0.0.0.0", 80, 80))


def test_a_port_of_the_last_incarnation_can_be_had_again() -> None:
    first = card(Published(HERE, 0, 80))
    (port,) = first.backend.ports  # type: ignore[attr-defined]
    with socket.create_connection((HERE, port)):
        first.close()
        card(Published(HERE, port, 80)).close()


def test_ipv6_addresses() -> None:
    try:
        made = card(Published("::1", 0, 80))
    except LinkRefused:
        pytest.skip("this host has no IPv6")
    made.close()


@pytest.mark.parametrize("udp", [False, True])
def test_without_an_address_both_protocols_are_answered(udp: bool) -> None:
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with bind(Published("", 0, 80, udp)) as bound:
        port = bound.getsockname()[1]
        reached = [HERE, "::1"] if bound.family == socket.AF_INET6 else [HERE]
        for address in reached:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, kind) as client:
                client.settimeout(5)
                client.connect((address, port))
                client.sendall(b"x")
                if udp:
                    bound.settimeout(5)
                    data, back = bound.recvfrom(9)
                    bound.sendto(data, back)
                    assert client.recv(9) == b"x"


def test_a_host_without_ipv6_is_answered_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket

    def refuse(family: int = socket.AF_INET, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no")
        return made(family, *rest)

    monkeypatch.setattr(socket, "socket", refuse)
    with bind(Published("", 0, 80)) as bound:
        assert bound.family == socket.AF_INET


def test_without_an_address_a_taken_port_is_refused(taken: int) -> None:
    with pytest.raises(LinkRefused, match=rf"publish {taken}/tcp: Address already in use"):
        bind(Published("", taken, 80))
