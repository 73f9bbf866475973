"""Scapy as the second opinion on every codec."""

from __future__ import annotations

import logging
import socket
from typing import Any

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.config import conf  # noqa: E402

conf.ipv6_enabled = True

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption, IPOption_LSRR, fragment  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Ether  # noqa: E402

__all__ = [
    "ARP",
    "ICMP",
    "IP",
    "TCP",
    "UDP",
    "Ether",
    "ICMPv6EchoRequest",
    "ICMPv6NDOptDstLLAddr",
    "ICMPv6NDOptMTU",
    "ICMPv6NDOptPrefixInfo",
    "ICMPv6NDOptSrcLLAddr",
    "ICMPv6ND_NA",
    "ICMPv6ND_NS",
    "ICMPv6ND_RA",
    "ICMPv6ND_RS",
    "IPOption",
    "IPOption_LSRR",
    "IPv6",
    "IPv6ExtHdrDestOpt",
    "IPv6ExtHdrFragment",
    "IPv6ExtHdrHopByHop",
    "IPv6ExtHdrRouting",
    "fragment",
    "ip",
    "mac",
    "recomputed",
]


def ip(text: str) -> bytes:
    """An address from its text, either family."""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def mac(text: str) -> bytes:
    """A MAC address from its text."""
    return bytes.fromhex(text.replace(":", ""))


def recomputed(packet: Any) -> bytes:
    """The packet, read from bytes, rebuilt with checksums and lengths of scapy's own making."""
    for layer in (IP, UDP, TCP, ICMP):
        if layer in packet:
            packet[layer].delfieldval("chksum")
    return bytes(packet)
