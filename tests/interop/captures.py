"""Captures, taken and judged by tshark(1): malformed packets, wrong checksums, TCP's own story.

What lies above TCP and UDP is not dissected: our payload is random bytes.
"""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Self

from tests.interop.lab import GUEST4, GUEST6, START_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.lab import Namespace

_SUMS = ("ip", "tcp", "udp", "icmp", "icmpv6")
_SETTINGS = (
    *("-d", "tcp.port==1-65535,data", "-d", "udp.port==1-65535,data"),
    *[word for name in ("ip", "tcp", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")],
)
_EXPERT_ERROR = 0x00800000
BAD = " || ".join(
    [
        "_ws.malformed",
        f"_ws.expert.severity >= {_EXPERT_ERROR}",
        *[f"{name}.checksum.status == 0" for name in _SUMS],
    ]
)
"""Status 0 is bad, 1 good, 2 not checked, 3 not there."""
LINUX_ZERO = "tcp.checksum == 0xffff"
"""Linux completes a checksum that comes to 0 as for UDP, where 0 means none (skb_checksum_help);
to tshark that is bad in TCP, and so one in 65536 of Linux's own segments is."""
STORY = ("retransmission", "lost_segment", "out_of_order", "duplicate_ack", "zero_window")


class Capture:
    """`tshark -i INTERFACE -w FILE` in a namespace, running from construction to `stop`."""

    def __init__(self, where: Namespace, interface: str, path: Path) -> None:
        self.path = path
        self._process = where.start(
            *("tshark", "-q", "-i", interface, "-B", "64", "-w", str(path)), errors=True
        )
        output = self._process.stdout
        assert output is not None
        for line in output:
            if "Capturing on" in line:
                break
        wait_until(lambda: path.exists() and path.stat().st_size > 0, "tshark writes")

    def stop(self) -> Path:
        """End it; the file is complete then."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(START_S)
        return self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _tshark(path: Path, *options: str) -> str:
    ran = subprocess.run(
        ["tshark", "-n", "-r", str(path), *_SETTINGS, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return ran.stdout


def frames(path: Path, display_filter: str) -> list[str]:
    """The frames that a display filter picks, one line each."""
    return _tshark(path, "-Y", display_filter).splitlines()


def bad_frames(path: Path, only: str = "frame", *, past_linux: bool = False) -> list[str]:
    """Frames, of those that `only` picks, that are malformed or whose checksum is wrong.

    `past_linux`: they were captured where Linux has completed the guest's checksums, too.
    """
    linux = "frame" if past_linux else f"!(ip.src == {GUEST4}) && !(ipv6.src == {GUEST6})"
    return frames(path, f"({only}) && ({BAD}) && !({LINUX_ZERO} && {linux})")


def count(path: Path, display_filter: str) -> int:
    """How many frames a display filter picks."""
    return len(_tshark(path, "-Y", display_filter, "-T", "fields", "-e", "frame.number").split())


def story(path: Path) -> dict[str, int]:
    """How often TCP's analysis says what."""
    return {name: count(path, f"tcp.analysis.{name}") for name in STORY}
