"""Does Hardtack speak with Linux over a good wire: ping, curl, iperf3, UDP, IPv4 and IPv6?

Each test also has its frames judged: by `--pcap`, as the guest sent and got them, and by a capture
on Linux's side of the wire.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.interop import captures
from tests.interop.lab import (
    GUEST4,
    GUEST6,
    OUTSIDE4,
    OUTSIDE6,
    TAP,
    Direct,
    Guest,
    Lab,
    Namespace,
    Wire,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NETS = {
    "ipv4": (f"tap:{TAP},ip={GUEST4}/24,gw={OUTSIDE4}", GUEST4, OUTSIDE4),
    "ipv6": (f"tap:{TAP},ip={GUEST6}/64,gw={OUTSIDE6}", GUEST6, OUTSIDE6),
}


class Pair:
    """A guest and Linux, and what each calls the other."""

    def __init__(self, outside: Namespace, guest: Guest, family: str) -> None:
        self.outside, self.guest = outside, guest
        _, self.guest_address, self.outside_address = NETS[family]

    def url(self, address: str, name: str) -> str:
        """Of a file at an HTTP server on either side."""
        return (
            f"http://[{address}]:8000/{name}" if ":" in address else f"http://{address}:8000/{name}"
        )


@pytest.fixture(params=NETS)
def pair(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Iterator[Pair]:
    """Over a wire, with both captures judged in the end."""
    wire = Wire(lab)
    capture = captures.Capture(wire.outside, "eth0", tmp_path / "outside.pcap")
    inside = tmp_path / "inside.pcap"
    net = NETS[request.param][0]
    with Guest(wire.inside, net, "--pcap", str(inside), cwd=tmp_path) as guest:
        yield Pair(wire.outside, guest, request.param)
    for path in (inside, capture.stop()):
        assert captures.bad_frames(path, past_linux=path != inside) == [], path.name
        assert captures.count(path, f"ip.addr == {GUEST4} || ipv6.addr == {GUEST6}") > 10


def test_ping_both_ways(pair: Pair) -> None:
    for size in (56, 1400, 8000, 60000):
        out = pair.outside.run("ping", "-c3", "-i0.05", "-W5", f"-s{size}", pair.guest_address)
        assert "3 received" in out
        inner = pair.guest.run(f"busybox ping -c 2 -W 5 -s {size} {pair.outside_address}")
        assert "2 packets received" in inner


def test_curl_both_ways(pair: Pair, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    (tmp_path / "served").write_bytes(data)
    ours, theirs = pair.outside_address, pair.guest_address
    server = f"cd {tmp_path} && exec python3 -m http.server --bind {theirs} 8000"
    pair.guest.run(f"({server}) >/tmp/log 2>&1 &")
    pair.outside.serve(8000, "python3", "-m", "http.server", "--bind", ours, "8000", cwd=tmp_path)
    said = pair.guest.run(f"curl -sS {pair.url(ours, 'served')} | sha256sum")
    assert said.split()[0] == hashlib.sha256(data).hexdigest()
    absent = pair.guest.run(f"curl -sS -o /dev/null -w '%{{http_code}}' {pair.url(ours, 'no')}")
    assert absent == "404"
    url = pair.url(theirs, "served")
    patience = ("--retry", "50", "--retry-delay", "1", "--retry-connrefused")
    pair.outside.run("curl", "-sS", *patience, "-o", str(tmp_path / "got"), url)
    assert (tmp_path / "got").read_bytes() == data
    pair.outside.run("curl", "-sS", "-Z", *(["-o", "/dev/null", url] * 20))
    refused = pair.outside.run("sh", "-c", f"curl -sS {url.replace('8000', '8001')} || echo {{$?}}")
    assert "{7}" in refused


def _ended(text: str) -> dict[str, dict[str, float]]:
    end: dict[str, dict[str, float]] = json.loads(text[text.index("{") :])["end"]
    return end


@pytest.mark.slow
def test_iperf3_both_ways(pair: Pair) -> None:
    pair.outside.serve(5201, "iperf3", "-s")
    pair.guest.run("iperf3 -s -p 5202 >/dev/null 2>&1 &")
    wait_until(lambda: ":1452 " in pair.guest.run("cat /proc/net/tcp*"), "iperf3 listens")
    for options in ("", "-R", "-P 4", "-P 3 -R", "--bidir"):
        command = f"iperf3 -J -t 1 -b 20M {options} -c"
        said = pair.guest.run(f"{command} {pair.outside_address}")
        assert _ended(said)["sum_received"]["bytes"] > 500_000, options
        said = pair.outside.run(*command.split(), pair.guest_address, "-p", "5202")
        assert _ended(said)["sum_received"]["bytes"] > 500_000, options


@pytest.mark.slow
def test_udp_both_ways(pair: Pair) -> None:
    pair.outside.serve(5201, "iperf3", "-s")
    for options in ("", "-R", "-l 8000", "-l 8000 -R"):
        said = pair.guest.run(f"iperf3 -J -u -b 4M -t 1 {options} -c {pair.outside_address}")
        total = _ended(said)["sum"]
        assert total["packets"] > 50
        assert total["lost_percent"] < 5, options


@pytest.mark.slow
def test_offload_between_tap_and_linux(lab: Lab, tmp_path: Path) -> None:
    """Segments of 64 KiB and partial checksums cross; --pcap shows what a wire would."""
    direct = Direct(lab)
    direct.outside.serve(5201, "iperf3", "-s")
    inside = tmp_path / "inside.pcap"
    with Guest(direct.inside, direct.net(), "--pcap", str(inside), cwd=tmp_path) as guest:
        for options in ("", "-R", "-P 3"):
            said = guest.run(f"iperf3 -J -t 1 {options} -c {OUTSIDE4}")
            assert _ended(said)["sum_received"]["bytes"] > 5_000_000
    assert captures.bad_frames(inside) == []
    assert captures.count(inside, "frame.len > 1514") == 0
