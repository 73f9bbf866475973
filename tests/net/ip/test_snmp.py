"""Are the counters named as the running Linux names them?"""

from __future__ import annotations

from pathlib import Path

import pytest

from services.net.ip.stack import Stack


def titles(title: str) -> list[str]:
    lines = Path("/proc/net/snmp").read_text().splitlines()
    return next(line for line in lines if line.startswith(title)).split()[1:]


@pytest.mark.parametrize("title", ["Ip", "Icmp", "Udp"])
def test_the_names_are_those_of_proc(title: str) -> None:
    """Kernels add names; none of those that both have may change its place."""
    ours = list(getattr(Stack(bytes), title.lower()).as_dict())
    theirs = titles(title + ":")
    assert [name for name in ours if name in theirs] == [name for name in theirs if name in ours]
    assert set(ours[:8]) <= set(theirs)


@pytest.mark.parametrize(("title", "name"), [("Ip6", "ip6"), ("Icmp6", "icmp6"), ("Udp6", "udp6")])
def test_the_names_are_those_of_snmp6(title: str, name: str) -> None:
    file = Path("/proc/net/snmp6")
    if not file.exists():
        pytest.skip("this host has no IPv6")
    theirs = {line.split()[0] for line in file.read_text().splitlines()}
    for key in getattr(Stack(bytes), name).as_dict():
        if key not in ("OutTransmits", "OutRateLimitGlobal", "OutRateLimitHost"):  # newer kernels
            assert title + key in theirs
