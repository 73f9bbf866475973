"""Counters, named as in /proc/net/snmp and /proc/net/snmp6 (RFC 4293, RFC 4113, proc(5))."""

from __future__ import annotations

from services.net.proto import icmp, icmpv6


class IpCounters:
    """Those of one IP version. What is not counted here (octets, ECN) is not shown either."""

    __slots__ = (
        "FragCreates",
        "FragFails",
        "FragOKs",
        "InAddrErrors",
        "InDelivers",
        "InDiscards",
        "InHdrErrors",
        "InMcastPkts",
        "InReceives",
        "InUnknownProtos",
        "OutDiscards",
        "OutMcastPkts",
        "OutNoRoutes",
        "OutRequests",
        "OutTransmits",
        "ReasmFails",
        "ReasmOKs",
        "ReasmReqds",
        "ReasmTimeout",
        "_names",
    )

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self.FragCreates = 0
        self.FragFails = 0
        self.FragOKs = 0
        self.InAddrErrors = 0
        self.InDelivers = 0
        self.InDiscards = 0
        self.InHdrErrors = 0
        self.InMcastPkts = 0
        self.InReceives = 0
        self.InUnknownProtos = 0
        self.OutDiscards = 0
        self.OutMcastPkts = 0
        self.OutNoRoutes = 0
        self.OutRequests = 0
        self.OutTransmits = 0
        self.ReasmFails = 0
        self.ReasmOKs = 0
        self.ReasmReqds = 0
        self.ReasmTimeout = 0

    def as_dict(self) -> dict[str, int]:
        """Name to value, in the order of /proc/net/snmp, or without "Ip6" of /proc/net/snmp6.

        Names that have no slot are those of what a host that does not route never counts.
        """
        return {name: getattr(self, name, _FIXED.get(name, 0)) for name in self._names}


class UdpCounters:
    """Those of one IP version; the socket layer counts most of them, the stack the errors."""

    __slots__ = (
        "IgnoredMulti",
        "InCsumErrors",
        "InDatagrams",
        "InErrors",
        "MemErrors",
        "NoPorts",
        "OutDatagrams",
        "RcvbufErrors",
        "SndbufErrors",
    )

    def __init__(self) -> None:
        self.InDatagrams = 0
        self.NoPorts = 0
        self.InErrors = 0
        self.OutDatagrams = 0
        self.RcvbufErrors = 0
        self.SndbufErrors = 0
        self.InCsumErrors = 0
        self.IgnoredMulti = 0
        self.MemErrors = 0

    def as_dict(self) -> dict[str, int]:
        """Name to value, in the order of /proc/net/snmp."""
        return {name: getattr(self, name) for name in UDP_NAMES}


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


_FIXED = {"Forwarding": 2, "DefaultTTL": 64}  # 2: this host does not route (RFC 4293)
_REASSEMBLY = ("ReasmTimeout", "ReasmReqds", "ReasmOKs", "ReasmFails")
_FRAGMENTS = ("FragOKs", "FragFails", "FragCreates")

IP_NAMES = (
    "Forwarding",
    "DefaultTTL",
    "InReceives",
    "InHdrErrors",
    "InAddrErrors",
    "ForwDatagrams",
    "InUnknownProtos",
    "InDiscards",
    "InDelivers",
    "OutRequests",
    "OutDiscards",
    "OutNoRoutes",
    *_REASSEMBLY,
    *_FRAGMENTS,
    "OutTransmits",
)

IP6_NAMES = (
    "InReceives",
    "InHdrErrors",
    "InTooBigErrors",
    "InNoRoutes",
    "InAddrErrors",
    "InUnknownProtos",
    "InTruncatedPkts",
    "InDiscards",
    "InDelivers",
    "OutForwDatagrams",
    "OutRequests",
    "OutDiscards",
    "OutNoRoutes",
    *_REASSEMBLY,
    *_FRAGMENTS,
    "InMcastPkts",
    "OutMcastPkts",
    "OutTransmits",
)

UDP_NAMES = (
    "InDatagrams",
    "NoPorts",
    "InErrors",
    "OutDatagrams",
    "RcvbufErrors",
    "SndbufErrors",
    "InCsumErrors",
    "IgnoredMulti",
    "MemErrors",
)

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
