"""Hosts, links and time for the tests: everything is simulated and seeded."""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, Any

from hypothesis import settings

from services.net.proto.packet import Packet
from services.net.tcp.limits import MS, SECOND, Limits, PathInfo, Settings
from services.net.tcp.segment import ACK, RST, SYN, Segment, decode
from services.net.tcp.table import Tcp

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.tcp.connection import Connection
    from services.net.tcp.listener import Listener

A = bytes((10, 0, 0, 1))
B = bytes((10, 0, 0, 2))
A6 = bytes.fromhex("fd000000000000000000000000000001")
B6 = bytes.fromhex("fd000000000000000000000000000002")
LO = bytes((127, 0, 0, 1))


def examples(count: int) -> settings:
    """Hypothesis, the same on every run."""
    return settings(max_examples=count, derandomize=True, deadline=None, database=None)


class Link:
    """What happens to packets on the way; rates are probabilities, `rate` bytes per second."""

    def __init__(
        self,
        delay_ns: int = MS,
        jitter_ns: int = 0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        corrupt: float = 0.0,
        reorder: float = 0.0,
        rate: int = 0,
        queue_ns: int = 200 * MS,
    ) -> None:
        self.delay_ns = delay_ns
        self.jitter_ns = jitter_ns
        self.loss = loss
        self.duplicate = duplicate
        self.corrupt = corrupt
        self.reorder = reorder
        self.rate = rate
        self.queue_ns = queue_ns
        self.busy_until: dict[bytes, int] = {}
        self.drop: Callable[[Packet], bool] | None = None

    def arrivals(self, packet: Packet, now: int, rng: random.Random) -> list[int]:
        """When copies of a packet arrive; none: lost."""
        if self.drop is not None and self.drop(packet):
            return []
        if rng.random() < self.loss or rng.random() < self.corrupt:
            return []
        at = now
        if self.rate:
            start = max(self.busy_until.get(packet.dst, 0), now)
            if start - now > self.queue_ns:
                return []
            at = start + (len(packet.payload.payload) + 40) * SECOND // self.rate
            self.busy_until[packet.dst] = at
        at += self.delay_ns
        if self.jitter_ns:
            at += rng.randrange(self.jitter_ns)
        if rng.random() < self.reorder:
            at += rng.randrange(self.delay_ns * 2 + 1)
        if rng.random() < self.duplicate:
            return [at, at + rng.randrange(self.delay_ns + 1)]
        return [at]


class World:
    """Hosts by address, one link between any two, and the clock."""

    def __init__(self, seed: int = 1, link: Link | None = None, wire: bool = False) -> None:
        self.rng = random.Random(seed)
        self.link = link or Link()
        self.wire = wire
        self.now = 1000 * SECOND
        self.hosts: dict[bytes, Tcp] = {}
        self.tcps: list[Tcp] = []
        self.events: list[tuple[int, int, Packet]] = []
        self.serial = 0
        self.sent: list[Packet] = []
        self.mtu = 1500
        self.gso = False
        self.log = False
        self.puppets: dict[bytes, Puppet] = {}

    def host(self, *addresses: bytes, **limits: Any) -> Tcp:
        """A host; loopback addresses may be given, too."""
        rng = random.Random(self.rng.random())

        def path(dst: bytes, src: bytes) -> PathInfo:
            if dst in addresses:
                return PathInfo(65536, loopback=True)
            return PathInfo(self.mtu, gso=self.gso)

        tcp = Tcp(output=self.output, path=path, random=rng.randbytes, limits=Limits(**limits))
        tcp.now_ns = self.now
        for address in addresses:
            self.hosts[address] = tcp
        self.tcps.append(tcp)
        return tcp

    def output(self, packet: Packet, c: Connection | None) -> None:
        if self.log:
            print(f"{(self.now - 1000 * SECOND) / 1e6:10.3f} {packet.src[-1]} {packet.payload}")
        self.sent.append(packet)
        if self.hosts.get(packet.src) is self.hosts.get(packet.dst):
            self._put(self.now, packet)
            return
        segment = packet.payload
        assert isinstance(segment, Segment)
        for piece in self._pieces(segment):
            clone = Packet(6, packet.src, packet.dst, piece, ifindex=1)
            for at in self.link.arrivals(clone, self.now, self.rng):
                self._put(at, clone)

    def _pieces(self, segment: Segment) -> list[Segment]:
        """What segmentation offload does."""
        size = segment.gso_bytes
        if not size:
            return [segment]
        out = []
        for at in range(0, len(segment.payload), size):
            part = segment.payload[at : at + size]
            last = at + size >= len(segment.payload)
            out.append(
                Segment(
                    segment.source_port,
                    segment.target_port,
                    segment.seq + at & 0xFFFFFFFF,
                    segment.ack,
                    segment.flags if last else segment.flags & ~0x09,
                    segment.window,
                    part,
                    segment.stamps,
                    segment.sacks,
                )
            )
        return out

    def _put(self, at: int, packet: Packet) -> None:
        self.serial += 1
        heapq.heappush(self.events, (at, self.serial, packet))

    def deliver(self, packet: Packet) -> None:
        puppet = self.puppets.get(packet.dst)
        if puppet is not None:
            puppet.received.append(packet.payload)
            return
        tcp = self.hosts.get(packet.dst)
        if tcp is None:
            return
        if self.wire:
            data = b"".join(packet.payload.encode(packet.src, packet.dst, False))
            segment = decode(memoryview(bytearray(data)), packet.src, packet.dst, False)
            packet = Packet(6, packet.src, packet.dst, segment, ifindex=packet.ifindex)
        tcp.now_ns = self.now
        tcp.input(packet)

    def next_at(self) -> int | None:
        times = [t.next_deadline_ns for t in self.tcps]
        known = [t for t in times if t is not None]
        if self.events:
            known.append(self.events[0][0])
        return min(known) if known else None

    def step(self, until: int) -> bool:
        """Go on to the next event, if there is one up to `until`."""
        at = self.next_at()
        if at is None or at > until:
            return False
        self.now = max(self.now, at)
        for tcp in self.tcps:
            tcp.now_ns = self.now
            deadline = tcp.next_deadline_ns
            if deadline is not None and deadline <= self.now:
                tcp.run_timers()
        while self.events and self.events[0][0] <= self.now:
            self.deliver(heapq.heappop(self.events)[2])
        return True

    def run(self, duration_ns: int = 10 * SECOND, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; replies whether `until` came true."""
        end = self.now + duration_ns
        while not (until is not None and until()):
            if not self.step(end):
                self.now = end
                for tcp in self.tcps:
                    tcp.now_ns = self.now
                return until is None
        return True

    def settle_to(self, puppet: Puppet) -> None:
        """Deliver what is under way to a puppet, at once."""
        rest = []
        for event in sorted(self.events):
            if event[2].dst == puppet.address:
                puppet.received.append(event[2].payload)
            else:
                rest.append(event)
        self.events = rest

    def settle(self) -> None:
        """Deliver what is under way, without letting time pass beyond that."""
        while self.events:
            self.step(self.events[0][0])


class Puppet:
    """A peer whose segments are made by hand: it talks to `port` of a host at `dst`."""

    def __init__(
        self, world: World, tcp: Tcp, address: bytes = B, dst: bytes = A, port: int = 40000
    ) -> None:
        self.world = world
        self.tcp = tcp
        self.address = address
        self.dst = dst
        self.port = port
        self.own_port = 80
        self.received: list[Segment] = []
        self.seq = 1000
        self.ack = 0
        self.window = 65535
        self.stamps = False
        self.echo = 0
        world.puppets[address] = self

    def take(self) -> list[Segment]:
        """What has come since the last time; acknowledgement and echo follow it."""
        self.world.settle_to(self)
        got, self.received = self.received, []
        for segment in got:
            end = segment.seq + segment.length & 0xFFFFFFFF
            if segment.flags & SYN or (end - self.ack) & 0xFFFFFFFF < 1 << 31:
                self.ack = end
            if segment.stamps is not None:
                self.echo = segment.stamps[0]
        return got

    def send(
        self,
        flags: int,
        payload: bytes = b"",
        seq: int | None = None,
        ack: int | None = None,
        window: int | None = None,
        **options: Any,
    ) -> None:
        """One segment, delivered at once; `seq` and `ack` are where they should be if not given."""
        if self.stamps and "stamps" not in options:
            options["stamps"] = (self.world.now // MS & 0xFFFFFFFF, self.echo)
        segment = Segment(
            self.own_port,
            self.port,
            (self.seq if seq is None else seq) & 0xFFFFFFFF,
            (self.ack if ack is None else ack) & 0xFFFFFFFF if flags & ACK else 0,
            flags,
            self.window if window is None else window,
            payload,
            **options,
        )
        if seq is None and not flags & RST:
            self.seq = self.seq + segment.length & 0xFFFFFFFF
        self.world.deliver(Packet(6, self.address, self.dst, segment, ifindex=1))

    def call(self, **options: Any) -> None:
        """Open a connection to a listening host."""
        self.take()
        self.stamps = "stamps" in options
        self.send(SYN, **options)
        answer = self.take()[-1]
        assert answer.flags == SYN | ACK
        self.send(ACK)

    def answer(self, **options: Any) -> Segment:
        """Answer a SYN that has come with SYN-ACK; replies with the SYN."""
        syn = self.take()[-1]
        assert syn.flags == SYN
        self.port = syn.source_port
        self.stamps = "stamps" in options
        if self.stamps:
            options["stamps"] = (options["stamps"][0], self.echo)
        self.send(SYN | ACK, **options)
        assert [s.flags for s in self.take()] == [ACK]
        return syn


def connect(
    world: World,
    client: Tcp,
    server: Tcp,
    src: bytes = A,
    dst: bytes = B,
    port: int = 80,
    client_port: int = 40000,
    settings: Settings | None = None,
    listener: Listener | None = None,
    listener_settings: Settings | None = None,
) -> tuple[Connection, Connection, Listener]:
    """A connection, both ends."""
    if listener is None:
        listener = server.listen(None, port, 3, 16, listener_settings)
    c = client.open((src, client_port), (dst, port), settings)
    assert world.run(60 * SECOND, lambda: bool(listener.accepted) and c.state == 1)
    s = listener.accept()
    assert s is not None
    return c, s, listener


def pair(seed: int = 1, link: Link | None = None, **kwargs: Any) -> tuple:
    """World, client end, server end."""
    world = World(seed, link)
    client, server = world.host(A), world.host(B)
    c, s, _ = connect(world, client, server, **kwargs)
    return world, c, s


def transfer(
    world: World, src: Connection, dst: Connection, data: bytes, limit_ns: int = 600 * SECOND
) -> tuple[bytes, int]:
    """Send everything, then FIN; replies with what arrived and how long it took."""
    view = memoryview(data)
    sent = 0
    got = bytearray()
    start = world.now

    def pump() -> bool:
        nonlocal sent
        busy = True
        while busy:
            busy = False
            while sent < len(view):
                n = src.write(view[sent : sent + 65536])
                if not n:
                    break
                sent += n
                busy = True
            else:
                if not src.fin_queued:
                    src.shutdown_write()
            while piece := dst.read(1 << 20):
                got.extend(piece)
                busy = True
        return dst.at_eof

    world.run(limit_ns, pump)
    return bytes(got), world.now - start
