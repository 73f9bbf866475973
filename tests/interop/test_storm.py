"""Is a guest that serves unharmed by thirty seconds of storm on its wire?

Every page that Linux asks for in the meantime arrives whole; the kernel heap is what it was, but
for bounded caches; the kernel says nothing and ends well.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.interop.lab import GUEST4, GUEST6, REPOSITORY, Guest, Lab, Wire

if TYPE_CHECKING:
    from pathlib import Path

URL = f"http://{GUEST4}:8000/page"
SETTLE_S = 40
"""Longer than what is left of a storm is kept: parts of packets (30 s), connections half open."""
KEPT_BYTES = 4 << 20
"""What caches that are bounded (neighbours, TIME_WAIT, cookies) may hold of it."""


def heap_bytes(guest: Guest) -> int:
    """What the kernel's ledger says is used."""
    told = dict(line.split()[:2] for line in guest.run("head -3 /proc/hardtack/heap").splitlines())
    return int(told["used"])


@pytest.mark.parametrize(
    ("seconds", "rate"), [(3, 1000), pytest.param(30, 3000, marks=pytest.mark.slow)]
)
def test_a_storm_disturbs_nobody(lab: Lab, tmp_path: Path, seconds: int, rate: int) -> None:
    wire = Wire(lab)
    page = os.urandom(100_000)
    (tmp_path / "page").write_bytes(page)
    want = hashlib.sha256(page).hexdigest()
    with Guest(wire.inside, wire.net(), "--bind", f"{tmp_path}:/srv", cwd=tmp_path) as guest:
        guest.run(f"ip address add {GUEST6}/64 dev eth0 || true")
        mac = guest.run("ip -o link show eth0").split("link/ether ")[1].split()[0]
        guest.run("cd /srv; busybox httpd -f -p 8000 >/dev/null 2>&1 & cd /; sleep 0.5")
        before = heap_bytes(guest)
        storm = wire.beside.start(
            *("env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-m", "tests.interop.storm"),
            *(mac, str(seconds), str(rate)),
            errors=True,
        )
        pages = 0
        while storm.poll() is None:
            got = wire.outside.run(
                *("sh", "-c", f"curl -sS -m 20 {URL} | sha256sum"), timeout_s=30
            ).split()[0]
            assert got == want
            pages += 1
        assert storm.stdout is not None
        said = storm.stdout.read()
        assert storm.returncode == 0, said
        sent = json.loads(said.splitlines()[-1])
        assert min(sent.values()) > seconds * rate // 40, sent
        assert pages >= seconds // 3
        if seconds > 10:
            time.sleep(SETTLE_S)
        assert heap_bytes(guest) < before + KEPT_BYTES
        guest.run("kill %1 || kill $(pidof busybox)")
    assert (tmp_path / "kernel.log").read_text() == ""
    print(f"{pages} pages during {sum(sent.values())} frames")
