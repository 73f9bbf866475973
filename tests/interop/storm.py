"""Sends a guest what no guest should be sent: `python -m tests.interop.storm MAC SECONDS RATE`.

Runs on a Linux host beside the guest, in a lab's namespace, with a packet socket. Frames of every
kind that the stack knows, made by scapy, are cut and changed; floods of SYNs from addresses that
nobody has, forged resets and acknowledgements, fragments that never become whole, ARP and neighbour
storms go between them. Prints how many frames were sent of each kind, as JSON.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.interop.lab import BESIDE4, GUEST4, GUEST6, OUTSIDE4

if TYPE_CHECKING:
    from collections.abc import Callable

PORT = 8000
"""Where the guest serves."""
BURST = 50
OWN_MAC = "02:00:00:00:00:aa"


class Storm:
    """Frames without end; each kind is a method, and says nothing about who really is where.

    Addresses of Linux at the other end are forged in IP alone: a forged ARP for them would cut off
    any host, Linux too.
    """

    def __init__(self, mac: str, seed: int) -> None:
        self._random = draw = random.Random(seed)
        ether = Ether(dst=mac, src=OWN_MAC)
        self._v4, v6 = ether / IP(src=BESIDE4, dst=GUEST4), ether / IPv6(dst=GUEST6)
        everyone = Ether(dst="ff:ff:ff:ff:ff:ff", src=OWN_MAC)
        options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("WScale", 7)]
        ports = {"sport": 4000, "dport": PORT}
        quoted = IP(src=GUEST4, dst=OUTSIDE4) / TCP(sport=PORT, dport=40_000)
        good: list[Packet] = [
            self._v4 / TCP(**ports, flags="S", options=options),
            self._v4 / TCP(**ports, flags="PA", seq=1, ack=1) / Raw(b"GET / HTTP/1.0\r\n\r\n"),
            self._v4 / UDP(sport=4000, dport=53) / Raw(b"nobody"),
            self._v4 / ICMP() / Raw(b"ping" * 100),
            self._v4 / ICMP(type=3, code=4, nexthopmtu=68) / quoted,
            self._v4 / ICMP(type=5, gw=BESIDE4) / quoted,
            v6 / ICMPv6EchoRequest(data=b"ping"),
            v6 / ICMPv6ND_NS(tgt=GUEST6),
            v6 / ICMPv6ND_NA(tgt="fd00:1::99"),
            v6 / ICMPv6ND_RA(routerlifetime=9000),
            v6 / IPv6ExtHdrFragment(offset=100, m=1, id=7) / Raw(bytes(64)),
            everyone / ARP(op=1, psrc=BESIDE4, pdst=GUEST4),
        ]
        self._corpus = [bytes(frame) for frame in good]
        self._templates = {
            "syn": bytes(self._v4 / TCP(**ports, flags="S", options=options)),
            "reset": bytes(ether / IP(src=OUTSIDE4, dst=GUEST4) / TCP(**ports, flags="R")),
            "arp": bytes(everyone / ARP(op=1, psrc="10.1.0.77", pdst=GUEST4)),
        }
        self.kinds: dict[str, Callable[[], bytes]] = {
            "changed": self._changed,
            "syn": self._syn,
            "forged": self._forged,
            "fragment": self._fragment,
            "arp": self._arp,
            "noise": lambda: self._corpus[0][:14] + draw.randbytes(draw.randrange(1500)),
        }

    def frame(self) -> tuple[str, bytes]:
        """The next one, and its kind."""
        kind = self._random.choice(list(self.kinds))
        return kind, self.kinds[kind]()

    def _changed(self) -> bytes:
        draw = self._random
        made = bytearray(draw.choice(self._corpus))
        for _ in range(draw.randrange(1, 5)):
            at = draw.randrange(14, max(len(made), 15))
            if draw.random() < 0.2:
                del made[at:]
            elif at < len(made):
                made[at] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        return bytes(made[:12]) + bytes(made[12:14] or b"\x08\0") + bytes(made[14:])

    def _tcp(self, template: str, source: str, **fields: object) -> bytes:
        packet = Ether(self._templates[template])
        packet[IP].src = source
        for name, value in fields.items():
            setattr(packet[TCP], name, value)
        del packet[IP].chksum, packet[TCP].chksum
        return bytes(packet)

    def _syn(self) -> bytes:
        draw = self._random
        source = f"10.1.0.{draw.randrange(20, 250)}"
        return self._tcp("syn", source, sport=draw.randrange(1024, 65536), seq=draw.getrandbits(32))

    def _forged(self) -> bytes:
        draw = self._random
        fields = {"flags": draw.choice("RASFP"), "ack": draw.getrandbits(32)}
        fields |= {"sport": draw.randrange(32768, 61000), "seq": draw.getrandbits(32)}
        return self._tcp("reset", OUTSIDE4, **fields)

    def _fragment(self) -> bytes:
        draw = self._random
        packet = self._v4.copy()
        packet[IP].id, packet[IP].flags = draw.getrandbits(16), draw.choice((0, 1))
        packet[IP].frag, packet[IP].proto = draw.choice((0, 1, 100, 8189)), 17
        return bytes(packet / Raw(bytes(draw.randrange(1, 1400))))

    def _arp(self) -> bytes:
        draw = self._random
        made = bytearray(self._templates["arp"])
        made[22:28] = b"\x02" + draw.randbytes(5)
        made[31] = draw.randrange(20, 250)
        return bytes(made)


def main(mac: str, seconds: str, rate: str) -> None:
    """Send for so long, so many frames a second at the most."""
    storm, sent = Storm(mac, 1), Counter[str]()
    ready = [storm.frame() for _ in range(4000)]  # scapy is slow: a stock, sent again and again
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
        card.bind(("eth0", 0))
        start = time.monotonic()
        total = 0
        while (passed := time.monotonic() - start) < float(seconds):
            if total >= passed * int(rate):
                time.sleep(0.001)
                continue
            for _ in range(BURST):
                kind, frame = ready[total % len(ready)]
                try:
                    card.send(frame)
                except OSError:  # the interface's queue is full, or the frame is too long for it
                    time.sleep(0.001)
                    continue
                finally:
                    total += 1
                sent[kind] += 1
    print(json.dumps(sent))


if __name__ == "__main__":
    main(*sys.argv[1:])
