"""What the headers of both IP versions say, once read."""

from __future__ import annotations


class IpHeader:
    """A header, IPv6 extension headers included. Offsets count from the IP header's first byte."""

    __slots__ = (
        "dont_fragment",
        "dst",
        "end",
        "fragment_at",
        "ident",
        "more_fragments",
        "proto",
        "src",
        "start",
        "tos",
        "ttl",
    )

    def __init__(
        self,
        src: bytes,
        dst: bytes,
        proto: int,
        ttl: int,
        tos: int,
        start: int,
        end: int,
        dont_fragment: bool = True,
        ident: int = 0,
        fragment_at: int = 0,
        more_fragments: bool = False,
    ) -> None:
        self.src = src
        self.dst = dst
        self.proto = proto  # of what begins at `start`; of a later fragment: of the whole
        self.ttl = ttl
        self.tos = tos
        self.start = start  # of the payload
        self.end = end  # of the datagram; what lies behind is padding
        self.dont_fragment = dont_fragment
        self.ident = ident  # 16 bits, or 32 in IPv6
        self.fragment_at = fragment_at  # bytes
        self.more_fragments = more_fragments


class ParameterProblem(ValueError):
    """A header that is wrong in a way that its sender is to be told of."""

    def __init__(self, pointer: int, code: int = 0, even_to_group: bool = False) -> None:
        super().__init__(f"header problem at byte {pointer}")
        self.pointer = pointer  # byte of the IP datagram
        self.code = code  # of the ICMP message
        self.even_to_group = even_to_group  # also if the datagram went to a group (RFC 8200 4.2)
