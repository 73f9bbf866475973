"""The texts of /proc/net: rows for what there is, counters for what has happened."""

from __future__ import annotations

import struct
from errno import EINVAL

import pytest

from bus.errors import PosixError
from services.net import api, report
from services.net.netlink import abi
from services.net.proto.checksum import checksum
from services.net.proto.packet import Packet, Raw
from services.net.socket import names
from tests.net.netlink.asker import Asker
from tests.net.proto.scapyoracle import ip

INET, STREAM, DATAGRAM = 2, 1, 2
LO = ip("127.0.0.1")


@pytest.fixture
def asker() -> Asker:
    return Asker()


def rows(asker: Asker, name: str) -> list[list[str]]:
    return [line.split() for line in report.text(asker.network, name).decode().splitlines()]


def test_the_api_names_them_all() -> None:
    assert sorted(report.MAKERS) == sorted(api.REPORTS)


def test_each_is_lines(asker: Asker) -> None:
    for name in api.REPORTS:
        text = report.text(asker.network, name)
        assert not text or text.endswith(b"\n")


def test_unknown(asker: Asker) -> None:
    with pytest.raises(PosixError) as caught:
        report.text(asker.network, "nosuch")
    assert caught.value.errno == EINVAL


def test_lo_counts_packets_and_bytes(asker: Asker) -> None:
    network = asker.network
    there = network.open(INET, DATAGRAM, 0, 1, 0, True)
    there.bind(names.encode(LO, 7000, INET), True)
    here = network.open(INET, DATAGRAM, 0, 2, 0, True)
    asker.memory[:5] = b"hello"
    here.send([(0, 5)], 0, names.encode(LO, 7000, INET), ())
    network.settle()
    (lo,) = [row for row in rows(asker, "dev") if row[0] == "lo:"]
    assert (lo[1:3], lo[9:11]) == (["33", "1"], ["33", "1"])  # 20 + 8 + 5 bytes


def test_netlink_sockets(asker: Asker) -> None:
    name = struct.pack("<HHII", abi.AF_NETLINK, 0, 0, 1)
    asker.socket.bind(name, True)
    heading, row = rows(asker, "netlink")
    assert heading[-1] == "Inode"
    assert (row[1], row[2], row[3], row[-1]) == ("0", "77", "00000001", "5")


def test_fragments_that_wait(asker: Asker) -> None:
    first = Packet(17, ip("10.0.2.9"), ip("10.0.2.15"), Raw(bytes(3000)))
    assert rows(asker, "sockstat")[-1] == ["FRAG:", "inuse", "0", "memory", "0"]
    piece = bytearray(bytes.fromhex("4500002c000120004011") + bytes(2) + first.src + first.dst)
    piece += bytes(24)
    piece[10:12] = checksum(piece[:20]).to_bytes(2, "big")
    frame = asker.eth.mac + bytes(6) + b"\x08\x00" + piece
    asker.network.stack.input(asker.eth.index, bytes(frame), checked=False)
    last = rows(asker, "sockstat")[-1]
    assert last[2] == "1"
    assert int(last[4]) > 24
    assert rows(asker, "sockstat6")[-1][2] == "0"


def test_groups(asker: Asker) -> None:
    network = asker.network
    network.join((ip("239.1.2.3"), asker.eth.index))
    igmp = rows(asker, "igmp")
    at = next(i for i, row in enumerate(igmp) if row[1].startswith("eth0"))
    assert igmp[at][-2:] == ["2", "V3"]
    assert [row[0] for row in igmp[at + 1 : at + 3]] == ["030201EF", "010000E0"]
    assert ["2", "eth0", "1", "0", "01005e010203"] in rows(asker, "dev_mcast")
    solicited = [row[2] for row in rows(asker, "igmp6") if row[2].startswith("ff02" + "0" * 18)]
    assert any(group[22:26] == "01ff" for group in solicited)


def test_lo_joins_no_solicited_node_group(asker: Asker) -> None:
    groups = [row[2] for row in rows(asker, "igmp6") if row[1] == "lo"]
    assert groups == ["ff02" + "0" * 27 + "1", "ff01" + "0" * 27 + "1"]


def test_where_ipv6_looks_last(asker: Asker) -> None:
    assert rows(asker, "ipv6_route")[-1][-2:] == ["00200200", "lo"]
