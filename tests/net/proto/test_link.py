"""Ethernet, ARP and neighbour discovery against scapy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.proto import address, arp, ethernet, icmp, ndp
from tests.net.proto.scapyoracle import (
    ARP,
    Ether,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    ip,
    mac,
)

A, B = "52:54:00:12:34:56", "52:55:0a:00:02:02"
SRC6, DST6 = "fe80::1", "ff02::1:ff00:2"
PAIR = ip(SRC6), ip(DST6)


def wire_of(message: icmp.Message) -> bytes:
    return b"".join(message.encode(*PAIR, offload=False))


def test_ethernet() -> None:
    wire = ethernet.header(mac(B), mac(A), ethernet.IPV6)
    assert wire == bytes(Ether(dst=B, src=A, type=0x86DD))
    assert ethernet.decode(wire) == (mac(B), mac(A), 0x86DD)
    with pytest.raises(ValueError, match="short"):
        ethernet.decode(wire[:13])


@pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY])
def test_arp(operation: int) -> None:
    ours = arp.Arp(operation, mac(A), ip("10.0.2.15"), mac(B), ip("10.0.2.2"))
    theirs = bytes(ARP(op=operation, hwsrc=A, psrc="10.0.2.15", hwdst=B, pdst="10.0.2.2"))
    assert ours.encode() == theirs
    assert arp.decode(memoryview(theirs + bytes(18))) == ours


@pytest.mark.parametrize("at", [1, 3, 4, 5, 7])
def test_arp_for_something_else(at: int) -> None:
    wire = bytearray(bytes(ARP()))
    wire[at] ^= 0xF0
    with pytest.raises(ValueError, match="ARP"):
        arp.decode(wire)
    with pytest.raises(ValueError, match="short"):
        arp.decode(wire[:27])


def test_solicitation_and_advertisement() -> None:
    head = IPv6(src=SRC6, dst=DST6, hlim=255)
    theirs = head / ICMPv6ND_NS(tgt="fe80::2") / ICMPv6NDOptSrcLLAddr(lladdr=A)
    assert wire_of(ndp.solicit(ip("fe80::2"), mac(A))) == bytes(theirs)[40:]
    theirs = head / ICMPv6ND_NA(tgt="fe80::2", R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=A)
    ours = ndp.advertise(ip("fe80::2"), mac(A), ndp.SOLICITED | ndp.OVERRIDE)
    assert wire_of(ours) == bytes(theirs)[40:]
    assert ndp.decode_neighbour(ours) == (ip("fe80::2"), mac(A))
    assert ndp.decode_neighbour(ndp.solicit(ip("fe80::2"), None)) == (ip("fe80::2"), None)


def test_router_discovery() -> None:
    head = IPv6(src=SRC6, dst=DST6, hlim=255)
    assert (
        wire_of(ndp.solicit_router(mac(A)))
        == bytes(head / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=A))[40:]
    )
    assert ndp.decode_solicit_router(ndp.solicit_router(mac(A))) == mac(A)
    assert ndp.decode_solicit_router(ndp.solicit_router(None)) is None
    prefix = ndp.Prefix(ip("fec0::"), 64, ndp.ON_LINK | ndp.AUTONOMOUS, 86400, 14400)
    router = ndp.Router(64, 0, 1800, 1000, 2000, mac(B), 1480, (prefix,))
    theirs = (
        head
        / ICMPv6ND_RA(
            chlim=64, M=0, O=0, prf=0, routerlifetime=1800, reachabletime=1000, retranstimer=2000
        )
        / ICMPv6NDOptSrcLLAddr(lladdr=B)
        / ICMPv6NDOptMTU(mtu=1480)
        / ICMPv6NDOptPrefixInfo(
            prefixlen=64,
            L=1,
            A=1,
            R=0,
            validlifetime=86400,
            preferredlifetime=14400,
            prefix="fec0::",
        )
    )
    message = ndp.advertise_router(router)
    assert wire_of(message) == bytes(theirs)[40:]
    assert ndp.decode_router(message) == router


@given(st.binary(max_size=120), st.sampled_from([133, 134, 135, 136]))
def test_junk_is_a_value_error_at_worst(junk: bytes, kind: int) -> None:
    message = icmp.Message(kind, 0, 0, memoryview(junk))
    decoders = {133: ndp.decode_solicit_router, 134: ndp.decode_router}
    try:
        decoders.get(kind, ndp.decode_neighbour)(message)
    except ValueError:
        return
    assert kind == 133 or len(junk) >= 8


@pytest.mark.parametrize("option", [b"\1\0", b"\1\2" + bytes(6), b"\1\2" + bytes(14), b"\1"])
def test_bad_options(option: bytes) -> None:
    message = icmp.Message(135, 0, 0, ip("fe80::2") + option)
    with pytest.raises(ValueError, match="option"):
        ndp.decode_neighbour(message)


def test_kinds_of_addresses() -> None:
    assert address.is_multicast(ip("224.0.0.1"))
    assert address.is_multicast(ip("ff02::1"))
    assert not address.is_multicast(ip("240.0.0.1"))
    assert address.is_loopback(ip("127.255.0.3"))
    assert address.is_loopback(ip("::1"))
    assert not address.is_loopback(ip("::2"))
    assert address.is_link_local(ip("169.254.3.4"))
    assert address.is_link_local(ip("febf::1"))
    assert not address.is_link_local(ip("fec0::1"))
    assert address.is_unspecified(ip("::"))
    assert address.is_v4_mapped(ip("::ffff:1.2.3.4"))
    assert address.network_of(ip("10.1.2.3"), 22) == ip("10.1.0.0")
    assert address.network_of(ip("10.1.2.3"), 0) == ip("0.0.0.0")
    assert address.shares_prefix(ip("10.1.2.3"), ip("10.1.3.0"), 23)
    assert not address.shares_prefix(ip("10.1.2.3"), ip("10.1.3.0"), 24)
    assert not address.shares_prefix(ip("10.1.2.3"), ip("::"), 0)
    assert address.common_bits(ip("10.1.2.3"), ip("10.1.3.0")) == 23
    assert address.broadcast_of(ip("10.1.2.3"), 24) == ip("10.1.2.255")
    assert address.broadcast_of(ip("10.1.2.3"), 31) is None
    assert address.solicited_node(ip("fe80::1:2345:6789")) == ip("ff02::1:ff45:6789")
    assert address.multicast_mac(ip("239.129.2.3")) == mac("01:00:5e:01:02:03")
    assert address.multicast_mac(ip("ff02::1:ff45:6789")) == mac("33:33:ff:45:67:89")
    assert address.interface_identifier(mac(A)) == bytes.fromhex("505400fffe123456")
