"""Whatever an attacker sends in whatever order: is the server sound, and are others unharmed?

Hypothesis plays the attacker, the server's program and time. After each step the invariants are
checked; in the end the honest client's connections must still work and nothing must be left of
the attacker's once they are closed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.net.proto import ipv4
from services.net.proto.checksum import checksum
from services.net.tcp.segment import ACK, PROTO_TCP, RST, SYN, Segment
from tests.net.hostile import invariants
from tests.net.hostile.attacker import MASK, Flow, address, ip4, tcp4, udp4
from tests.net.hostile.world import (
    ATTACKER,
    CLIENT,
    ECHO,
    MAC_ATTACKER,
    SECOND,
    SERVER,
    Wire,
    ether,
)

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection

OFFSETS = st.one_of(
    st.sampled_from([0, 1, -1, 100, 1460, 65_535, 65_536, -(1 << 31), 1 << 30]),
    st.integers(-3000, 3000),
    st.integers(-70_000, 140_000),
)
FLAGS = st.one_of(
    st.sampled_from([ACK, ACK | 8, ACK | 1, 2, 4, 20, 18, 0, 0x30]), st.integers(0, 255)
)
WINDOWS = st.one_of(st.just(60_000), st.sampled_from([0, 1, 65_535]), st.integers(0, 65_535))


class Attack(RuleBasedStateMachine):
    """See the module."""

    @initialize()
    def begin(self) -> None:
        self.wire = Wire(backlog=8)
        self.server = self.wire.server
        stack = self.server.network.stack
        stack.neighbours.set_permanent(self.server.eth, ATTACKER, MAC_ATTACKER)
        self.flows: list[Flow] = []
        self.deaf: set[int] = set()
        self.server.reads = lambda child: child.handle not in self.deaf

    # The attacker ---------------------------------------------------------------------------

    @rule(
        mss=st.sampled_from([None, 0, 1, 64, 536, 1460, 65_535]),
        scale=st.sampled_from([None, 0, 7, 14, 255]),
        sack_ok=st.booleans(),
        stamps=st.sampled_from([None, True]),
    )
    def connect(
        self, mss: int | None, scale: int | None, sack_ok: bool, stamps: bool | None
    ) -> None:
        self.flows.append(Flow(self.wire, mss=mss, scale=scale, sack_ok=sack_ok, stamps=stamps))

    @precondition(lambda self: self.flows)
    @rule(which=st.integers(0, 99), size=st.integers(1, 1400), times=st.integers(1, 60))
    def honest_data(self, which: int, size: int, times: int) -> None:
        flow = self.flows[which % len(self.flows)]
        for _ in range(times):
            flow.send(b"x" * size)

    @precondition(lambda self: self.flows)
    @rule(which=st.integers(0, 99), window=WINDOWS, part=st.floats(0, 1.01))
    def acknowledge(self, which: int, window: int, part: float) -> None:
        flow = self.flows[which % len(self.flows)]
        flow.put(flow.segment(ACK, ack=int(flow.heard() * part), window=window))

    @precondition(lambda self: self.flows)
    @rule(
        which=st.integers(0, 99),
        part=st.floats(0, 1),
        blocks=st.lists(st.tuples(st.floats(0, 1.01), st.floats(0, 1.01)), max_size=3),
        times=st.integers(1, 5),
    )
    def lie_about_what_came(
        self, which: int, part: float, blocks: list[tuple[float, float]], times: int
    ) -> None:
        """SACK blocks over what the server has sent; another time they may be taken back."""
        flow = self.flows[which % len(self.flows)]
        heard, base = flow.heard(), flow.theirs
        made = flow.segment(ACK, ack=int(heard * part))
        edges = [(base + int(heard * left), base + int(heard * right)) for left, right in blocks]
        made.sacks = tuple([(left & MASK, right & MASK) for left, right in edges])
        for _ in range(times):
            flow.put(made)

    @precondition(lambda self: self.flows)
    @rule(
        which=st.integers(0, 99),
        flags=FLAGS,
        seq=OFFSETS,
        ack=OFFSETS,
        window=WINDOWS,
        size=st.sampled_from([0, 0, 1, 7, 1000, 1448]),
        urgent=st.sampled_from([0, 1, 5, 65_535]),
        sacks=st.lists(st.tuples(OFFSETS, OFFSETS), max_size=3),
        stamp=st.sampled_from([None, 0, 1, -1, 1 << 31]),
    )
    def segment(
        self,
        which: int,
        flags: int,
        seq: int,
        ack: int,
        window: int,
        size: int,
        urgent: int,
        sacks: list[tuple[int, int]],
        stamp: int | None,
    ) -> None:
        flow = self.flows[which % len(self.flows)]
        made = flow.segment(flags, b"y" * size, seq, ack, window)
        made.urgent = urgent
        made.sacks = tuple(
            (flow.theirs + left & MASK, flow.theirs + right & MASK) for left, right in sacks
        )
        if made.stamps is not None:
            old = made.stamps[0]
            made.stamps = None if stamp is None else (old + stamp & MASK, stamp & MASK)
        flow.put(made)

    @precondition(lambda self: self.flows)
    @rule(which=st.integers(0, 99), flags=FLAGS, options=st.binary(max_size=40))
    def broken_options(self, which: int, flags: int, options: bytes) -> None:
        flow = self.flows[which % len(self.flows)]
        flow.put(flow.segment(flags), options)

    @precondition(lambda self: self.flows)
    @rule(which=st.integers(0, 99), step=st.integers(2, 40), count=st.integers(1, 700))
    def every_other_byte(self, which: int, step: int, count: int) -> None:
        flow = self.flows[which % len(self.flows)]
        self.wire.attack(*(tcp4(flow.segment(ACK, b"h", n * step)) for n in range(1, count)))
        self.wire.settle()

    @rule(count=st.integers(1, 200), again=st.booleans())
    def syn_flood(self, count: int, again: bool) -> None:
        for number in range(count):
            port = 1024 if again else 1024 + number
            syn = Segment(port, ECHO, number * 77, 0, SYN, 1000, mss=1460)
            self.wire.attack(tcp4(syn, address(number)))
        self.wire.settle()

    # The attacker, as somebody else -----------------------------------------------------------

    def _bystander(self) -> Connection:
        for key, c in self.server.network.tcp.connections.items():
            if key[2] == CLIENT:
                return c
        raise AssertionError("the client's connection is gone")

    @rule(beyond=st.integers(1, 1 << 20), flags=FLAGS, size=st.integers(0, 1400), ack=OFFSETS)
    def forged_outside_the_window(self, beyond: int, flags: int, size: int, ack: int) -> None:
        c = self._bystander()
        seq, acknowledged = c.rcv_adv + beyond, c.snd_una + ack
        made = Segment(
            c.remote_port, ECHO, seq & MASK, acknowledged & MASK, flags, 100, b"z" * size
        )
        self.wire.attack(tcp4(made, CLIENT))

    @rule(within=st.integers(1, 60_000), flags=st.sampled_from([RST, RST | ACK, SYN, SYN | ACK]))
    def forged_within_the_window(self, within: int, flags: int) -> None:
        c = self._bystander()
        seq = min(c.rcv_nxt + within, c.rcv_adv)
        if seq > c.rcv_nxt:
            made = Segment(c.remote_port, ECHO, seq & MASK, c.snd_nxt & MASK, flags, 100)
            self.wire.attack(tcp4(made, CLIENT))

    @rule(
        kind=st.sampled_from([3, 4, 11, 12]),
        code=st.integers(0, 16),
        mtu=st.sampled_from([0, 68, 552, 1499, 9000]),
        off=st.integers(1, 1 << 31),
    )
    def forged_icmp(self, kind: int, code: int, mtu: int, off: int) -> None:
        c = self._bystander()
        quoted = ipv4.header(SERVER, CLIENT, PROTO_TCP, 8, 64, 0, 1, 0)
        quoted += struct.pack("!HHI", ECHO, c.remote_port, c.snd_nxt + off & MASK)
        body = struct.pack("!BBHHH", kind, code, 0, 0, mtu) + quoted
        body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
        self.wire.attack(ip4(1, body))

    # Below TCP --------------------------------------------------------------------------------

    @rule(count=st.integers(1, 300), size=st.sampled_from([0, 8, 1400]))
    def udp(self, count: int, size: int) -> None:
        self.wire.attack(*(udp4(size, address(n), ECHO + n % 2) for n in range(count)))
        self.wire.settle()

    @rule(count=st.integers(1, 300), first=st.integers(0, 8000), size=st.integers(1, 180))
    def fragments(self, count: int, first: int, size: int) -> None:
        for number in range(count):
            head = ipv4.header(
                ATTACKER, SERVER, 17, size * 8, 64, 0, number & 0xFFFF, 0x2000 | first & 0x1FFF
            )
            self.wire.attack(ether(head + bytes(size * 8)))

    @rule(count=st.integers(1, 600), reply=st.booleans())
    def arp_storm(self, count: int, reply: bool) -> None:
        for number in range(count):
            who = bytes((10, 0, 0, 3 + number % 250)) if reply else address(number)
            mac = bytes((2, 1)) + number.to_bytes(4, "big")
            body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2 if reply else 1)
            self.wire.attack(ether(body + mac + who + bytes(6) + SERVER, 0x0806))

    @rule(frame=st.binary(max_size=200), kind=st.sampled_from([0x0800, 0x86DD, 0x0806]))
    def noise(self, frame: bytes, kind: int) -> None:
        self.wire.attack(ether(frame, kind))

    # The server's program, and time -----------------------------------------------------------

    @rule(deaf=st.booleans())
    def reading(self, deaf: bool) -> None:
        children = self.server.children[2:]  # the first two are the client's
        self.deaf = {child.handle for child in children} if deaf else set()
        self.wire.settle()

    @rule(on=st.booleans())
    def accepting(self, on: bool) -> None:
        self.server.accepting = on
        self.wire.settle()

    @precondition(lambda self: len(self.server.children) > 2)
    @rule(which=st.integers(0, 99), size=st.integers(1, 60_000))
    def server_writes(self, which: int, size: int) -> None:
        children = self.server.children[2:]
        child = children[which % len(children)]
        if child.connection is not None and child.ready() & 0x1C == 4:
            self.server.write(child, b"w" * size)
        self.wire.settle()

    @precondition(lambda self: len(self.server.children) > 2)
    @rule(which=st.integers(0, 99), reset=st.booleans())
    def server_closes(self, which: int, reset: bool) -> None:
        children = self.server.children[2:]
        child = children[which % len(children)]
        self.server.children.remove(child)
        if reset and child.connection is not None:
            child.connection.abort()
        self.server.network.close(child, False)
        self.wire.settle()

    @rule(ms=st.sampled_from([1, 50, 300, 1500, 10_000, 70_000]))
    def time(self, ms: int) -> None:
        self.wire.pass_time(ms * SECOND // 1000)

    # What must hold ---------------------------------------------------------------------------

    @invariant()
    def sound(self) -> None:
        if hasattr(self, "wire"):
            invariants.check(self.server.network)
            invariants.check(self.wire.client.network)

    def teardown(self) -> None:
        if not hasattr(self, "wire"):
            return
        wire, server = self.wire, self.server
        self.deaf, server.accepting = set(), True
        wire.pass_time(2 * SECOND)
        wire.check_bystanders()
        wire.check_newcomer()
        for child in list(server.children[2:]):
            server.children.remove(child)
            server.network.close(child, False)
        wire.pass_time(2000 * SECOND)
        self.sound()
        tcp = server.network.tcp
        assert {key[2] for key in tcp.connections} <= {
            CLIENT,
            wire.client.eth.addresses[-1].address,
        }
        assert len(tcp.connections) == 2
        assert not tcp.orphans
        assert not tcp.time_waits.records
        wire.check_bystanders()


Attack.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, derandomize=True, deadline=None, database=None
)
test_attack = Attack.TestCase
