"""Does a capture show what a wire would have carried, with nothing for a reader to complain of?"""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from services.drivers.nic.pcap import Recorder
from services.drivers.nic.rings import GSO_TCPV4, GSO_TCPV6, HEADER, NEEDS_CHECKSUM
from services.drivers.nic.settings import LinkRefused
from services.net.proto import gso
from services.net.proto.checksum import checksum, pseudo_header
from services.net.proto.packet import Frame

if TYPE_CHECKING:
    from pathlib import Path

SRC, DST = bytes([10, 0, 2, 15]), bytes([10, 0, 2, 2])
SRC6, DST6 = bytes(15) + b"\1", bytes(15) + b"\2"
FIN_PSH_ACK = 0x19


def tcp_frame(payload: bytes, *, flags: int = FIN_PSH_ACK, v6: bool = False) -> tuple[bytes, int]:
    """A frame with a partial checksum, and where its TCP header starts."""
    length = 32 + len(payload)
    src, dst = (SRC6, DST6) if v6 else (SRC, DST)
    tcp = struct.pack(">HHIIBBHHH", 80, 4000, 0xFFFFFF00, 7, 8 << 4, flags, 1000, 0, 0)
    tcp = tcp[:16] + pseudo_header(src, dst, 6, length).to_bytes(2, "big") + tcp[18:]
    tcp += b"\1\1\x08\x0a" + struct.pack(">II", 1, 2)
    if v6:
        ip = struct.pack(">IHBB", 6 << 28, length & 0xFFFF, 6, 64) + src + dst
    else:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length & 0xFFFF, 0xFFFF, 0x4000, 64, 6, 0)
        ip += src + dst
        ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
    ethernet = b"\x52" * 12 + (b"\x86\xdd" if v6 else b"\x08\0")
    return ethernet + ip + tcp + payload, 14 + len(ip)


def test_fields_that_contradict_each_other_are_shown_as_they_are(tmp_path: Path) -> None:
    frame, _ = tcp_frame(b"x")
    recorder = Recorder(str(tmp_path / "x.pcap"))
    recorder.record([HEADER.pack(NEEDS_CHECKSUM, 0, 0, 0, 60_000, 16, 1), frame])
    recorder.record([HEADER.pack(NEEDS_CHECKSUM, GSO_TCPV4, 9, 0, 34, 16, 1), frame])
    recorder.close()
    data = (tmp_path / "x.pcap").read_bytes()
    assert data[24 + 16 :][: len(frame)] == frame
    assert len(data) == 24 + 2 * (16 + len(frame))


def capture(path: Path) -> None:
    recorder = Recorder(str(path), now_ns=lambda: 1_700_000_000_123_456_789)
    for v6 in (False, True):
        frame, tcp_at = tcp_frame(b"a" * 5000, v6=v6)
        kind = GSO_TCPV6 if v6 else GSO_TCPV4
        header = HEADER.pack(NEEDS_CHECKSUM, kind, tcp_at + 32, 1448, tcp_at, 16, 1)
        recorder.record([memoryview(header + frame[:50]), memoryview(frame[50:])])
        small, _ = tcp_frame(b"b", v6=v6)
        recorder.record([HEADER.pack(NEEDS_CHECKSUM, 0, 0, 0, tcp_at, 16, 1), small])
        (done,) = gso.split(Frame([small], tcp_at, 16))
        recorder.record([HEADER.pack(0, 0, 0, 0, 0, 0, 1), *done.parts])
    assert recorder.records == 12
    recorder.close()


def test_the_file_is_nanosecond_pcap(tmp_path: Path) -> None:
    capture(tmp_path / "x.pcap")
    data = (tmp_path / "x.pcap").read_bytes()
    assert struct.unpack_from("=IHH", data) == (0xA1B23C4D, 2, 4)
    at, count = 24, 0
    while at < len(data):
        seconds, nanoseconds, length, whole = struct.unpack_from("=IIII", data, at)
        assert (seconds, nanoseconds, length) == (1_700_000_000, 123_456_789, whole)
        at += 16 + length
        count += 1
    assert (at, count) == (len(data), 12)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_finds_nothing_wrong(tmp_path: Path) -> None:
    capture(tmp_path / "x.pcap")
    words = ["tshark", "-r", str(tmp_path / "x.pcap"), "-o", "tcp.check_checksum:TRUE"]
    words += ["-o", "ip.check_checksum:TRUE", "-T", "fields", "-e", "tcp.checksum.status"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert shown == ["1"] * 12


def test_scapy_reads_it(tmp_path: Path) -> None:
    scapy = pytest.importorskip("scapy.utils")
    capture(tmp_path / "x.pcap")
    packets = scapy.rdpcap(str(tmp_path / "x.pcap"))
    assert len(packets) == 12
    assert float(packets[0].time) == pytest.approx(1_700_000_000.123_456_789)


def test_a_file_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LinkRefused, match=r"No such file or directory .name another"):
        Recorder(str(tmp_path / "no" / "x.pcap"))
    with pytest.raises(LinkRefused, match="/dev/full"):
        Recorder("/dev/full")


def test_a_full_disk_ends_the_capture_and_nothing_else(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path / "x.pcap"))
    recorder._fd, kept = __import__("os").open("/dev/full", 1), recorder._fd
    frame, _ = tcp_frame(b"x")
    recorder.record([bytes(12), frame])
    assert recorder.failed is not None
    recorder.record([bytes(12), frame])
    __import__("os").close(kept)
