"""Do options of Internet sockets answer as Linux's do: each level, each kind of socket, odd values?

The program prints one line for each case; its output on this host, in a network namespace of its
own, is the oracle.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import compare, unmet

if TYPE_CHECKING:
    from pathlib import Path

FEWEST_CASES = 60_000
SHOWN = 60
NOT_HERE = {
    "socket": {37, 41, 42, 43, 44, 45, 46, 47, 60, 69, 73, 75},
    "ip": {4, 18, 19, 20, 21, 22, 23, 25, 26, 50},
    "ipv6": {2, 3, 4, 5, 8, 11, 22, 31, 36, 53, 56, 58, 60, 73, 74, 75, 76, 77},
    "tcp": {27, 30, 34, 36},
}
"""What this stack does not do: its default is told, and nothing else can be set."""
ABSENT = {
    "socket": {48, 61, 65, 68, 70, 71, 74, 76},
    "ip": {5, 9},
    "ipv6": {1, 6, 24, 50, 61, 64, 65},
    "tcp": {},
}
"""What is not there at all: ENOPROTOOPT. (IPV6_MTU tells what it should.)"""
OF_THIS_HOST = {
    ("socket", 7), ("socket", 8), ("socket", 18), ("socket", 28), ("socket", 32), ("socket", 33),
    ("socket", 55), ("tcp", 2), ("tcp", 10), ("tcp", 13),
}  # fmt: skip
"""Sizes of buffers and segments, ports, and the default algorithm are as configured there."""
IOCTLS = {"SIOCGSTAMP", "SIOCETHTOOL", "SIOCGIFVLAN", "SIOCGARP", "SIOCGIFPFLAGS", "unknown"}
"""Different, and of no consequence."""


def parse(output: str) -> dict[str, str]:
    return dict(line.split(" -> ", 1) for line in output.splitlines() if " -> " in line)


FLOW_LABEL = ("ipv6", 70)
"""Flow labels are not made here: off, and stays off."""


def agree(case: str, host: str, guest: str) -> bool:
    """Whether the guest's answer is Linux's, or an honest refusal."""
    if host == guest:
        return True
    _, level, option, *rest = case.split()
    if level == "ioctl":
        return option in IOCTLS
    number = int(option)
    if (level, number) in OF_THIS_HOST:
        return host.split(" ")[0] == guest.split(" ")[0]  # so much of it at least
    if (level, number) == FLOW_LABEL:
        return rest[0] == "get" or "ENOPROTOOPT, 40 00000000" in guest or guest.startswith("ok")
    if number in ABSENT.get(level, ()):
        return "ENOPROTOOPT" in guest or "EOPNOTSUPP" in guest
    if number in NOT_HERE.get(level, ()):
        refused = re.match(r"(ENOPROTOOPT|EINVAL|EOPNOTSUPP|ok),", guest) is not None
        return rest[0] == "set" and refused
    return False


def differences(host: dict[str, str], guest: dict[str, str]) -> list[str]:
    return [
        f"{case}: {answer} on host, {guest.get(case, 'no answer')} on hardtack"
        for case, answer in host.items()
        if not agree(case, answer, guest.get(case, "no answer"))
    ]


def test_options(user_programs: Path) -> None:
    command = Command("netoptions", (str(user_programs / "netoptions"),), alone=True)
    if absent := unmet(command):
        pytest.skip(f"not on this machine: {', '.join(absent)}")
    result = compare(command)
    host = parse(result.host.stdout.decode())
    assert len(host) > FEWEST_CASES, "the oracle itself failed"
    wrong = differences(host, parse(result.hardtack.stdout.decode()))
    if wrong or result.hardtack.status:
        heading = f"{len(wrong)} of {len(host)} cases differ"
        error = result.hardtack.stderr.decode()
        pytest.fail("\n".join([heading, *wrong[:SHOWN], error]), pytrace=False)
