"""Would a bad frame be noticed? The judge of the other tests' captures, judged."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from tests.interop import captures

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
IP4 = ETHER / IP(src="10.1.0.2", dst="10.1.0.1")
GOOD: list[Packet] = [
    IP4 / TCP(sport=80, dport=40000, flags="PA") / Raw(b"HTTP/1.1 ?"),
    IP4 / UDP(sport=53, dport=53) / Raw(b"no name server"),
    IP4 / ICMP() / Raw(b"echo"),
    ETHER / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(data=b"echo"),
]
BAD = {
    "ip": ETHER / IP(src="10.1.0.2", dst="10.1.0.1", chksum=1) / UDP(sport=1, dport=2),
    "tcp": IP4 / TCP(sport=80, dport=40000, chksum=1) / Raw(b"x"),
    "udp": IP4 / UDP(sport=1, dport=2, chksum=1) / Raw(b"x"),
    "icmp": IP4 / ICMP(chksum=1) / Raw(b"x"),
    "icmpv6": ETHER / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(cksum=1, data=b"x"),
    "short": ETHER / IP(src="10.1.0.2", dst="10.1.0.1", len=400) / UDP(sport=1, dport=2),
    "offset": IP4 / TCP(sport=80, dport=40000, dataofs=3),
}


def test_good_frames_pass(tmp_path: Path) -> None:
    wrpcap(str(tmp_path / "good.pcap"), GOOD)
    assert captures.bad_frames(tmp_path / "good.pcap") == []
    assert captures.count(tmp_path / "good.pcap", "tcp || udp") == 2


@pytest.mark.parametrize("name", BAD)
def test_a_bad_frame_is_found(tmp_path: Path, name: str) -> None:
    wrpcap(str(tmp_path / "bad.pcap"), [*GOOD, BAD[name]])
    assert len(captures.bad_frames(tmp_path / "bad.pcap")) == 1


def test_what_linux_makes_of_zero_is_its_own_affair(tmp_path: Path) -> None:
    """The checksum comes to 0; 0xffff is right by arithmetic, and tshark calls it bad."""
    made = {}
    for source in ("10.1.0.2", "10.1.0.1"):
        segment = ETHER / IP(src=source, dst="10.1.0.9") / TCP(sport=80, dport=9, seq=0)
        computed = TCP(bytes(segment[TCP])).chksum
        segment[TCP].seq = computed  # what is added to the sum makes it come to 0
        segment[TCP].chksum = 0xFFFF
        made[source] = tmp_path / source
        wrpcap(str(made[source]), [segment])
    assert len(captures.bad_frames(made["10.1.0.2"])) == 1
    assert captures.bad_frames(made["10.1.0.1"]) == []
    assert captures.bad_frames(made["10.1.0.2"], past_linux=True) == []
    assert captures.count(made["10.1.0.1"], "tcp.checksum.status == 0") == 1
