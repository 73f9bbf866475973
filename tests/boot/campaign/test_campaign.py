"""A short campaign, whole; and one that is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from boot.campaign.inside import PROGRAMS
from boot.campaign.strike import DRIVERS
from tests.programs.servers.inside import needs

ROOT = Path(__file__).parents[3]
pytestmark = needs("nginx", "redis-server")
assert {"nginx", "redis-server"} <= set(PROGRAMS)


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "boot", "campaign", "-o", str(folder / "out"), *words],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kernels_of(folder: Path) -> list[str]:
    """Processes whose command line names the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder / "hardtack-campaign") in words:
            found.append(words)
    return found


def test_every_service_is_struck_and_nobody_notices(tmp_path: Path) -> None:
    child = start(tmp_path, "-n", "1", "--seed", "2")
    said, complaints = child.communicate(timeout=400)
    assert (child.returncode, complaints) == (0, ""), said
    told = json.loads((tmp_path / "out" / "campaign.json").read_text())
    assert len(told["rows"]) == 7 * 3
    for row in told["rows"]:
        assert row["injected"] == row["survived"] == 1, row
        assert (row["failed_calls"], row["broken_connections"], row["lost_bytes"]) == (0, 0, 0)
        assert (row["recovery_median_s"] is None) == (row["fault"] == "delay")
    assert {row["service"] for row in told["drivers"]} <= set(DRIVERS)
    assert (told["deaths"], told["notes"]) == ([], [])
    assert min(told["rounds"].values()) > 21
    assert told["values_found_after_a_boot"] > 100
    assert not list(tmp_path.glob("hardtack-campaign-*"))


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    child = start(tmp_path, "-n", "50", "--services", "fs", "--faults", "crash")
    deadline_s = time.monotonic() + 120
    while not kernels_of(tmp_path):
        assert time.monotonic() < deadline_s
        assert child.poll() is None
        time.sleep(0.1)
    time.sleep(3.0)
    child.send_signal(signal.SIGINT)
    _, complaints = child.communicate(timeout=90)
    assert (child.returncode, complaints) == (130, "")
    assert kernels_of(tmp_path) == []
    assert not list(tmp_path.glob("hardtack-campaign-*"))
