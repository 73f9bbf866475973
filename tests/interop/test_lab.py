"""Does a lab end without a trace, however it ends, and does its wire do what it is told?"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.interop.lab import (
    OUTSIDE4,
    REPOSITORY,
    Impairment,
    Lab,
    Wire,
    relay_counts,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 400


def test_an_error_within_leaves_nothing(lab: Lab) -> None:
    seen: list[str] = []

    def fail() -> None:
        with Lab() as inner:
            wire = Wire(inner)
            seen.extend(space.path for space in (wire.inside, wire.outside, wire.beside))
            assert all(map(os.path.exists, seen))
            raise KeyError("as a test that fails")

    with pytest.raises(KeyError):
        fail()
    assert not any(map(os.path.exists, seen))
    assert {name for _, name in socket.if_nameindex()}.isdisjoint(("wire", "ht0", "br0"))


def test_a_killed_test_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom tests.interop.lab import *\n"
        "wire = Wire(Lab()); wire.outside.start('sleep', '1000')\n"
        "print(wire.inside.path, wire.outside.path, flush=True); os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    paths = ran.stdout.split()
    assert len(paths) == 2, ran.stderr
    wait_until(lambda: not any(map(os.path.exists, paths)), "the namespaces go")


def _pinged(lab: Lab, impairment: Impairment) -> tuple[list[dict[str, int]], str]:
    wire = Wire(lab, impairment)
    said = wire.beside.run("sh", "-c", f"ping -q -c {COUNT} -i 0.002 -W 1 {OUTSIDE4} || true")
    return relay_counts(wire.relay), said


def test_a_clean_wire_loses_nothing(lab: Lab) -> None:
    counts, said = _pinged(lab, Impairment())
    assert " 0% packet loss" in said
    for way in counts:
        assert way["lost"] == way["reordered"] == way["duplicated"] == way["corrupted"] == 0


def test_an_impaired_wire_does_all_that_it_is_told(lab: Lab) -> None:
    counts, said = _pinged(lab, Impairment(20, loss=10, reorder=10, duplicate=10, corrupt=10))
    least = float(said.split("rtt min/avg/max/mdev = ")[1].split("/")[1])
    assert least > 30
    for way in counts:
        for fate in ("lost", "reordered", "duplicated", "corrupted"):
            assert 0.04 * way["frames"] < way[fate] < 0.2 * way["frames"], counts


def _lost(seed: int) -> list[str]:
    """Which of sixty pings are answered, with nothing but these and ARP on the wire."""
    with Lab() as lab:
        here, there = lab.namespace(), lab.namespace()
        for end in (here, there):
            end.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        lab.wire(here, there, Impairment(loss=20, seed=seed))
        here.address("wire", "10.1.0.3/24")
        there.address("eth0", f"{OUTSIDE4}/24")
        for end, peer, name in ((here, there, "wire"), (there, here, "eth0")):
            other = peer.run("ip", "-o", "link", "show", "eth0" if name == "wire" else "wire")
            address = OUTSIDE4 if name == "wire" else "10.1.0.3"
            mac = other.split("link/ether ")[1].split()[0]
            end.run("ip", "neigh", "replace", address, "lladdr", mac, "dev", name)
        said = here.run("sh", "-c", f"ping -c 60 -i 0.01 -W 1 {OUTSIDE4} || true")
    return [line.split("icmp_seq=")[1].split()[0] for line in said.splitlines() if "seq=" in line]


def test_the_same_seed_is_the_same_fate(lab: Lab) -> None:
    assert _lost(7) == _lost(7) != _lost(8)
