"""The neighbour table: which MAC address has an address on the link?

States and times are those of RFC 4861 7.3 and 10, for ARP as well, as Linux has it (arp(7)):

    INCOMPLETE  asked up to three times, a second apart; frames wait (bounded)
    REACHABLE   confirmed less than some 30 s ago
    STALE       known, not confirmed; nothing is done until it is used
    DELAY       used; five seconds for the transport to confirm it
    PROBE       asked directly, three times
    FAILED      no answer; what waits is reported unreachable; the next use begins anew

The data path looks at `fresh_until_ns` alone: while the present is before it, frames go out behind
`prefix`, and nothing else is to be done. The table is bounded; the entries used least recently go.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bus.census import kind
from services.net.ip.timers import NEVER, Timer
from services.net.proto import address as kinds
from services.net.proto import ethernet

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.host import Host
    from services.net.ip.interface import Interface
    from services.net.proto.packet import Frame, Packet

NONE, INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED, PERMANENT = 0, 1, 2, 4, 8, 16, 32, 128
"""NUD_*, rtnetlink(7)."""
_KNOWN = REACHABLE | STALE | DELAY | PROBE | PERMANENT

MAX_NEIGHBOURS = 1024
MAX_LEARNT = 512
"""How full others may make the table by asking for us; beyond, only what we ask for is kept."""
MAX_PENDING_FRAMES = 128
MAX_PENDING_BYTES = 1 << 20
"""Of one neighbour, and of all."""
_FRAME_COST_BYTES = 768
"""What keeping a frame costs beside its own bytes: objects for it, its packet and its payload."""

_PROBES = 3
_DELAY_NS = 5_000_000_000
_LOCK_NS = 1_000_000_000
_EVICTED_AT_ONCE = 64
_UNKNOWN = bytes(ethernet.HEADER_BYTES)


NEIGHBOUR = kind("net", "neighbour")
PENDING = kind("net", "frames that wait for an address")


class Neighbour:
    """One entry. Paths refer to it, also after it was evicted: then its state is NONE."""

    __slots__ = (
        "address",
        "fresh_until_ns",
        "interface",
        "is_router",
        "mac",
        "pending",
        "prefix",
        "probes",
        "state",
        "timer",
        "updated_ns",
        "used_ns",
    )
    heap = NEIGHBOUR  # not looked up in the module, which `NOBODY` outlives at exit

    def __init__(self, interface: Interface | None, address: bytes) -> None:
        self.heap.made()
        self.interface = interface
        self.address = address
        self.state = NONE
        self.mac = b""
        self.prefix = _UNKNOWN  # the Ethernet header towards it
        self.fresh_until_ns = -1
        self.used_ns = 0
        self.updated_ns = 0
        self.probes = 0
        self.is_router = False
        self.pending: list[tuple[Frame, Packet]] = []
        self.timer: Timer | None = None

    def __del__(self) -> None:
        self.heap.freed()

    @classmethod
    def fixed(cls, interface: Interface, address: bytes, mac: bytes) -> Neighbour:
        """One that is in no table and needs no confirmation: a group, or a neighbour by fiat."""
        made = cls(interface, address)
        made.state = PERMANENT
        made.fresh_until_ns = NEVER
        made.set_mac(interface, mac)
        return made

    def set_mac(self, interface: Interface, mac: bytes) -> None:
        """Remember the MAC address, and the header that it makes."""
        self.mac = mac
        kind = ethernet.IPV4 if len(self.address) == 4 else ethernet.IPV6
        self.prefix = ethernet.header(mac, interface.mac, kind)

    def __repr__(self) -> str:
        return f"Neighbour({self.address.hex()}, state={self.state}, mac={self.mac.hex()})"


NOBODY = Neighbour(None, b"")
"""What a path has before its neighbour is looked up."""


class Neighbours:
    """The table of a stack."""

    def __init__(
        self,
        host: Host,
        solicit: Callable[[Interface, Neighbour, Packet | None], None],
        unreachable: Callable[[Packet], None],
    ) -> None:
        self._host = host
        self._solicit = solicit  # asks for an entry's MAC; directly, if it has one
        self._unreachable = unreachable  # told of each packet that found no neighbour
        self._table: dict[tuple[int, bytes], Neighbour] = {}
        self._pending_bytes = 0
        self.changes = 0  # moves whenever an entry's state does, or one goes

    def __del__(self) -> None:
        self._hold(-self._pending_bytes)

    def _hold(self, cost_bytes: int) -> None:
        self._pending_bytes += cost_bytes
        PENDING.grew(cost_bytes)

    def __len__(self) -> int:
        return len(self._table)

    def entries(self) -> list[Neighbour]:
        """All entries, for /proc/net/arp and netlink."""
        return list(self._table.values())

    def get(self, interface: Interface, address: bytes) -> Neighbour | None:
        """The entry of an address, if there is one."""
        return self._table.get((interface.index, address))

    def obtain(self, interface: Interface, address: bytes) -> Neighbour:
        """The entry of an address, made if need be; then something else may have to go."""
        key = (interface.index, address)
        found = self._table.get(key)
        if found is None:
            if len(self._table) >= MAX_NEIGHBOURS:
                self._evict()
            found = self._table[key] = Neighbour(interface, address)
            found.timer = Timer(partial(self._on_timer, interface, found))
            found.used_ns = self._host.now_ns
        return found

    def _evict(self) -> None:
        """A batch at a time, so that a storm does not sort the table for each newcomer."""
        mortal = [one for one in self._table.values() if one.state != PERMANENT]
        mortal.sort(key=lambda one: one.used_ns)
        for one in mortal[:_EVICTED_AT_ONCE]:
            self._drop(one)

    def shrink(self) -> int:
        """Forget all that nobody waits for and that can be asked for again; how many went."""
        able = [n for n in self._table.values() if n.state != PERMANENT and not n.pending]
        for one in able:
            self._drop(one)
        return len(able)

    def _drop(self, one: Neighbour) -> None:
        self.changes += 1
        if one.interface is not None:
            self._table.pop((one.interface.index, one.address), None)
        if one.timer is not None:
            self._host.timers.clear(one.timer)
        self._forget_pending(one)
        one.state = NONE
        one.fresh_until_ns = -1

    def remove(self, interface: Interface, address: bytes) -> bool:
        """Delete an entry; False: there was none."""
        found = self.get(interface, address)
        if found is not None:
            self._drop(found)
        return found is not None

    def flush(self, interface: Interface) -> None:
        """Delete all entries of an interface."""
        for one in [n for n in self._table.values() if n.interface is interface]:
            self._drop(one)

    def set_permanent(self, interface: Interface, address: bytes, mac: bytes) -> None:
        """An entry by fiat (SIOCSARP, RTM_NEWNEIGH)."""
        one = self.obtain(interface, address)
        self._set_state(one, PERMANENT, NEVER)
        one.set_mac(interface, mac)
        self._release(interface, one)

    # Sending

    def use(self, one: Neighbour) -> None:
        """A frame is about to be sent to an entry that is not fresh."""
        if one.state & (REACHABLE | STALE) and one.fresh_until_ns <= self._host.now_ns:
            self._set_state(one, DELAY, self._host.now_ns + _DELAY_NS)

    def hold(self, interface: Interface, one: Neighbour, frame: Frame, packet: Packet) -> None:
        """Keep a frame until its neighbour is known, and see to it that it is asked for.

        The first part must begin with 14 bytes for the Ethernet header. When too much waits for
        one neighbour, the oldest goes; when too much waits for all, the newcomer.
        """
        now_ns = self._host.now_ns
        one.used_ns = now_ns
        if len(one.pending) >= MAX_PENDING_FRAMES:
            self._hold(-_cost(one.pending.pop(0)[0]))
            interface.tx_dropped += 1
        cost = _cost(frame)
        if self._pending_bytes + cost > MAX_PENDING_BYTES:
            interface.tx_dropped += 1
        else:
            self._hold(cost)
            one.pending.append((frame, packet))
        if one.state != INCOMPLETE:
            one.probes = 1
            self._set_state(one, INCOMPLETE, now_ns + interface.retransmit_ns)
            self._solicit(interface, one, packet)

    def _release(self, interface: Interface, one: Neighbour) -> None:
        """Send what waited."""
        pending = one.pending
        while pending:
            frame, _ = pending.pop(0)
            length = frame.length_bytes
            self._hold(-_cost(frame))
            frame.parts[0] = one.prefix + bytes(frame.parts[0][14:])
            interface.tx_packets += 1
            interface.tx_bytes += length
            interface.transmit(frame)

    def _forget_pending(self, one: Neighbour) -> list[Packet]:
        """Drop what waits; the packets that it belongs to, each once."""
        packets: list[Packet] = []
        for frame, packet in one.pending:
            self._hold(-_cost(frame))
            if not packets or packets[-1] is not packet:
                packets.append(packet)
        one.pending.clear()
        return packets

    # Hearing

    def heard(
        self, interface: Interface, address: bytes, mac: bytes, *, solicited: bool, override: bool
    ) -> Neighbour | None:
        """An ARP reply or neighbour advertisement (RFC 4861 7.2.5). Makes no entry.

        `solicited`: it was sent to us alone. What we did not ask for may change a known MAC
        address only to be probed before it is believed, and not within a second of the last
        change, so that of two answers the first counts.
        """
        one = self._table.get((interface.index, address))
        if one is None or one.state in (NONE, FAILED, PERMANENT):
            return one
        if one.state == INCOMPLETE:
            self._learn_mac(interface, one, mac)
            self._became(interface, one, reachable=solicited)
            self._release(interface, one)
        elif mac == one.mac:
            if solicited:
                self._became(interface, one, reachable=True)
        elif override and not self._is_locked(one):
            asked = solicited and one.state == PROBE
            self._learn_mac(interface, one, mac)
            self._became(interface, one, reachable=asked)
        elif one.state == REACHABLE and not override:
            self._set_state(one, STALE, NEVER)
        return one

    def learn(self, interface: Interface, address: bytes, mac: bytes) -> Neighbour | None:
        """Someone who asks for us told its own MAC address: worth keeping while there is room."""
        one = self._table.get((interface.index, address))
        if one is None:
            if len(self._table) >= MAX_LEARNT:
                return None
            one = self.obtain(interface, address)
        elif one.state == PERMANENT or mac == one.mac or self._is_locked(one):
            return one
        self._learn_mac(interface, one, mac)
        self._became(interface, one, reachable=False)
        self._release(interface, one)
        return one

    def _is_locked(self, one: Neighbour) -> bool:
        """Of two answers that contradict each other within a second, the first counts."""
        return one.state & _KNOWN != 0 and self._host.now_ns - one.updated_ns < _LOCK_NS

    def confirm(self, one: Neighbour) -> None:
        """A transport knows that what it sent arrived (RFC 4861 7.3.1)."""
        if one.state == REACHABLE and one.interface is not None:
            one.fresh_until_ns = self._host.now_ns + one.interface.reachable_ns
        elif one.state & (STALE | DELAY | PROBE) and one.interface is not None:
            self._became(one.interface, one, reachable=True)

    def _learn_mac(self, interface: Interface, one: Neighbour, mac: bytes) -> None:
        one.set_mac(interface, mac)
        one.updated_ns = self._host.now_ns

    def _became(self, interface: Interface, one: Neighbour, *, reachable: bool) -> None:
        if not reachable:
            self._set_state(one, STALE, NEVER)
            return
        # Between half and one and a half of the base (RFC 4861 6.3.2), so that hosts disperse.
        spread = 128 + self._host.random(1)[0]
        self._set_state(one, REACHABLE, NEVER)
        one.fresh_until_ns = self._host.now_ns + (interface.reachable_ns * spread >> 8)

    def _set_state(self, one: Neighbour, state: int, timer_at_ns: int) -> None:
        self.changes += 1
        one.state = state
        one.fresh_until_ns = NEVER if state & (DELAY | PROBE | PERMANENT) else -1
        if one.timer is not None:
            self._host.timers.set(one.timer, timer_at_ns)

    def _on_timer(self, interface: Interface, one: Neighbour, now_ns: int) -> None:
        """Nothing was heard in time."""
        again_ns = now_ns + interface.retransmit_ns
        if one.state == DELAY:
            one.probes = 1
            self._set_state(one, PROBE, again_ns)
            self._solicit(interface, one, None)
        elif one.state & (INCOMPLETE | PROBE) and one.probes < _PROBES:
            one.probes += 1
            self._set_state(one, one.state, again_ns)
            self._solicit(interface, one, one.pending[0][1] if one.pending else None)
        elif one.state & (INCOMPLETE | PROBE):
            self._set_state(one, FAILED, NEVER)
            one.mac = b""
            one.prefix = _UNKNOWN
            for packet in self._forget_pending(one):
                self._unreachable(packet)


def is_plausible(mac: bytes) -> bool:
    """Whether a host can have this MAC address: neither a group nor nothing."""
    return not ethernet.is_group(mac) and mac != kinds.MAC_ANY


def _cost(frame: Frame) -> int:
    """What a frame that waits is charged."""
    return frame.length_bytes + _FRAME_COST_BYTES
