"""A peer that downloads and lies about what it has got, how much room it has, and when.

Its acknowledgements and SACK blocks lie anywhere in what was sent, its window shrinks and grows,
its answers come early, late and several times. Soundness is all that it can count on.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from services.net.tcp.segment import ACK
from tests.net.hostile import invariants
from tests.net.hostile.attacker import MASK, Flow
from tests.net.hostile.world import ATTACKER, MAC_ATTACKER, SECOND, Wire

PART = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))
STEP = st.tuples(
    PART,
    st.lists(st.tuples(PART, PART), max_size=3),
    st.sampled_from([60_000, 60_000, 0, 1, 1000, 65_535]),
    st.sampled_from([0, 0, 1, 20, 250, 3000]),
    st.integers(1, 4),
)
Step = tuple[float, list[tuple[float, float]], int, int, int]
seen: Counter[str] = Counter()


def _download(wire: Wire, steps: list[Step]) -> None:
    flow = Flow(wire, mss=1000, scale=3, sack_ok=True)
    child = wire.server.children[-1]
    acked = heard = 0
    for part, blocks, window, ms, times in steps:
        if child.connection is not None and child.ready() & 0x1C == 4:
            wire.server.write(child, b"w" * 20_000)
        wire.settle()
        heard = max(heard, flow.heard())
        ack = acked + int((heard - acked) * part)
        acked = max(acked, ack)
        made = flow.segment(ACK, ack=ack, window=window)
        base, span = flow.theirs + ack, heard - ack
        made.sacks = tuple(
            [(base + int(span * a) & MASK, base + int(span * b) & MASK) for a, b in blocks]
        )
        for _ in range(times):
            flow.put(made)
        invariants.check(wire.server.network)
        wire.pass_time(ms * SECOND // 1000)
        invariants.check(wire.server.network)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(st.lists(STEP, min_size=5, max_size=40))
def test_lies_are_survived(steps: list[Step]) -> None:
    wire = Wire()
    stack = wire.server.network.stack
    stack.neighbours.set_permanent(wire.server.eth, ATTACKER, MAC_ATTACKER)
    _download(wire, steps)
    wire.check_bystanders()
    seen.update(wire.server.network.tcp.counters)


def test_lies_have_reached_recovery() -> None:
    """Else the test above asks less than it seems to."""
    if not seen:
        test_lies_are_survived()
    for name in ("TCPFastRetrans", "TCPTimeouts", "TCPLossProbes", "RetransSegs"):
        assert seen[name] > 5, seen
