"""Counters, named as in /proc/net/snmp and /proc/net/snmp6 (RFC 4293, RFC 4113, proc(5))."""

from __future__ import annotations

from services.net.proto import icmp, icmpv6


class Counters:
    """Slots of ints, all 0 at first."""

    __slots__: tuple[str, ...] = ()

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        """Name to value, in the order of /proc/net/snmp."""
        return {name: getattr(self, name) for name in self.__slots__}


class IpCounters(Counters):
    """One for each IP version. Octets and groups are shown for IPv6 alone."""

    InReceives: int
    InHdrErrors: int
    InTooBigErrors: int
    InNoRoutes: int
    InAddrErrors: int
    InUnknownProtos: int
    InTruncatedPkts: int
    InDiscards: int
    InDelivers: int
    OutForwDatagrams: int
    OutRequests: int
    OutDiscards: int
    OutNoRoutes: int
    ReasmTimeout: int
    ReasmReqds: int
    ReasmOKs: int
    ReasmFails: int
    FragOKs: int
    FragFails: int
    FragCreates: int
    OutTransmits: int
    InMcastPkts: int
    OutMcastPkts: int
    InOctets: int
    OutOctets: int

    __slots__ = tuple(__annotations__)


class UdpCounters(Counters):
    """One for each IP version; the socket layer counts most of them."""

    InDatagrams: int
    NoPorts: int
    InErrors: int
    OutDatagrams: int
    RcvbufErrors: int
    SndbufErrors: int
    InCsumErrors: int
    IgnoredMulti: int
    MemErrors: int

    __slots__ = tuple(__annotations__)


class IcmpCounters:
    """Totals, and messages of each type, of one IP version."""

    __slots__ = (
        "InCsumErrors",
        "InErrors",
        "InMsgs",
        "OutErrors",
        "OutMsgs",
        "OutRateLimitGlobal",
        "OutRateLimitHost",
        "_names",
        "in_types",
        "out_types",
    )

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names
        self.InMsgs = 0
        self.InErrors = 0
        self.InCsumErrors = 0
        self.OutMsgs = 0
        self.OutErrors = 0
        self.OutRateLimitGlobal = 0
        self.OutRateLimitHost = 0
        self.in_types: dict[int, int] = {}
        self.out_types: dict[int, int] = {}

    def count_in(self, kind: int) -> None:
        """A message of this type came."""
        self.in_types[kind] = self.in_types.get(kind, 0) + 1

    def count_out(self, kind: int) -> None:
        """A message of this type goes."""
        self.OutMsgs += 1
        self.out_types[kind] = self.out_types.get(kind, 0) + 1

    def as_dict(self) -> dict[str, int]:
        """Name to value, in the order of /proc/net/snmp."""
        values = {
            "InMsgs": self.InMsgs,
            "InErrors": self.InErrors,
            "InCsumErrors": self.InCsumErrors,
        }
        values |= {"In" + name: self.in_types.get(kind, 0) for kind, name in self._names.items()}
        values["OutMsgs"] = self.OutMsgs
        values["OutErrors"] = self.OutErrors
        values["OutRateLimitGlobal"] = self.OutRateLimitGlobal
        values["OutRateLimitHost"] = self.OutRateLimitHost
        return values | {
            "Out" + name: self.out_types.get(kind, 0) for kind, name in self._names.items()
        }


ICMP_NAMES = {
    icmp.DEST_UNREACHABLE: "DestUnreachs",
    icmp.TIME_EXCEEDED: "TimeExcds",
    icmp.PARAMETER_PROBLEM: "ParmProbs",
    icmp.SOURCE_QUENCH: "SrcQuenchs",
    icmp.REDIRECT: "Redirects",
    icmp.ECHO: "Echos",
    icmp.ECHO_REPLY: "EchoReps",
    13: "Timestamps",
    14: "TimestampReps",
    17: "AddrMasks",
    18: "AddrMaskReps",
}

ICMPV6_NAMES = {
    icmpv6.DEST_UNREACHABLE: "DestUnreachs",
    icmpv6.PACKET_TOO_BIG: "PktTooBigs",
    icmpv6.TIME_EXCEEDED: "TimeExcds",
    icmpv6.PARAMETER_PROBLEM: "ParmProblems",
    icmpv6.ECHO: "Echos",
    icmpv6.ECHO_REPLY: "EchoReplies",
    130: "GroupMembQueries",
    131: "GroupMembResponses",
    132: "GroupMembReductions",
    icmpv6.ROUTER_SOLICITATION: "RouterSolicits",
    icmpv6.ROUTER_ADVERTISEMENT: "RouterAdvertisements",
    icmpv6.NEIGHBOUR_SOLICITATION: "NeighborSolicits",
    icmpv6.NEIGHBOUR_ADVERTISEMENT: "NeighborAdvertisements",
    icmpv6.REDIRECT: "Redirects",
    143: "MLDv2Reports",
}
