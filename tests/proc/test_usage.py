"""Is time charged to whom it belongs, and is what is due at some time due then?"""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from services.proc import cpuclock, cputimers, meter
from services.proc.abi import RLIMIT_CPU, SIGKILL, SIGXCPU
from services.proc.signals.core import bit
from services.proc.usage import NOTHING, Usage, total

if TYPE_CHECKING:
    from tests.proc.guest import Guest

MS = 1_000_000


def used(user_ns: int = 0, system_ns: int = 0) -> Usage:
    usage = Usage()
    usage.user_ns, usage.system_ns = user_ns, system_ns
    return usage


def test_rusage_has_its_fields_where_getrusage_says() -> None:
    usage = used(1_500_000_000, 2_000_250_000)
    usage.minor_faults, usage.major_faults, usage.waits, usage.preemptions = 3, 4, 5, 6
    words = struct.unpack("<18q", usage.pack(7 << 20))
    assert words[:5] == (1, 500_000, 2, 250, 7 << 10)
    assert words[8:10] == (3, 4)
    assert words[16:] == (5, 6)


def test_sums_add_up_and_keep_the_highest_peak() -> None:
    first, second = used(1, 2), used(10, 20)
    first.peak_bytes, second.peak_bytes = 9, 5
    assert total(None) is not NOTHING
    whole = total(first, None, second)
    assert (whole.user_ns, whole.system_ns, whole.peak_bytes) == (11, 22, 9)
    assert first.user_ns == 1, "a part was changed"
    assert used(25 * MS, 10 * MS).ticks == (2, 1)


class Slices:
    """A meter under a clock that the test moves, and a thread for it to charge."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        monkeypatch.setattr(meter, "perf_counter_ns", lambda: self.now)
        self.core = SimpleNamespace(
            trap_ns=100, on_syscall=self.trap, on_fault=self.trap, regs=[39]
        )
        self.kernel: Any = SimpleNamespace(core=self.core, current=None, latencies={})
        self.thread: Any = SimpleNamespace(
            usage=Usage(), samples=(0, 0), system_share=0.0, resumed_ns=0
        )
        self.meter = meter.Meter(self.kernel)
        self.trap_takes = 0

    def trap(self, *arguments: int) -> None:
        self.now += self.trap_takes

    def sample(self, *user_ns: int, trap_takes: int) -> None:
        """A timed slice: stretches of user code, with a trap after each."""
        self.trap_takes = trap_takes
        self.meter.sample()
        self.meter.since_ns = self.now
        for stretch in user_ns:
            self.now += stretch
            self.core.on_syscall()
        self.meter.end_sample(self.thread, self.now)


def test_a_sample_splits_its_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = Slices(monkeypatch)
    slices.sample(1000, 1000, trap_takes=400)
    usage = slices.thread.usage
    assert (usage.system_ns, usage.user_ns) == (2 * 500, 2 * 900)  # a trap's own cost is system
    assert slices.thread.system_share == pytest.approx(1000 / 2800)
    assert slices.core.on_syscall == slices.trap, "later slices are not timed"


def test_long_samples_count_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = Slices(monkeypatch)
    slices.sample(*[100] * 10, trap_takes=900)
    slices.sample(1_000_000, trap_takes=0)
    assert slices.thread.system_share < 0.02


def test_old_samples_fade(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = Slices(monkeypatch)
    slices.sample(300 * MS, trap_takes=0)
    for _ in range(20):
        slices.sample(0, trap_takes=20 * MS)
    assert slices.thread.system_share > 0.8


def test_settling_inside_a_slice_charges_up_to_now(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = Slices(monkeypatch)
    thread, kernel = slices.thread, slices.kernel
    thread.system_share, kernel.current = 0.25, thread
    slices.meter.since_ns, slices.now = 1000, 1400
    slices.meter.settle(thread)
    assert (thread.usage.system_ns, thread.usage.user_ns) == (100, 300)
    slices.meter.settle(thread)
    assert thread.usage.cpu_ns == 400
    kernel.current, thread.resumed_ns, slices.now = None, 1400, 1450
    slices.meter.settle(thread)
    assert (thread.usage.system_ns, thread.usage.user_ns) == (150, 300)


async def test_cpu_timers_fire_by_their_own_clock(guest: Guest) -> None:
    process, usage = guest.process, guest.thread.usage
    fired: list[str] = []
    cputimers.at(process, 10, lambda: fired.append("all"))
    cputimers.at(process, 10, lambda: fired.append("own"), cputimers.VIRTUAL)
    gone = cputimers.at(process, 1, lambda: fired.append("cancelled"))
    gone.cancel()
    usage.system_ns = 10
    assert process.cpu_timers is not None
    process.cpu_timers.check()
    assert fired == ["all"]
    usage.user_ns = 10
    process.cpu_timers.check()
    assert fired == ["all", "own"]
    assert process.cpu_timers is None, "nothing is due: slices must not look"


async def test_the_limit_warns_each_second_and_kills_at_the_hard_one(guest: Guest) -> None:
    process, usage = guest.process, guest.thread.usage
    process.limits[RLIMIT_CPU] = (1, 3)
    cputimers.watch_limit(process)
    guest.thread.blocked = bit(SIGXCPU)
    told = []
    for second in (1, 2, 3):
        usage.user_ns = second * 1_000_000_000
        assert process.cpu_timers is not None
        process.cpu_timers.check()
        told.append((process.pending.mask, process.limits[RLIMIT_CPU][0]))
        process.pending.discard(bit(SIGXCPU))
    assert told == [(bit(SIGXCPU), 2), (bit(SIGXCPU), 3), (bit(SIGKILL), 3)]


@pytest.mark.parametrize(
    ("number", "shows"), [(2, 30), (3, 30), (-6, 30), (-8, 30), (-7, 10), (-2, 30), (-4, 30)]
)
async def test_clock_ids_say_what_is_counted(guest: Guest, number: int, shows: int) -> None:
    guest.thread.usage.user_ns, guest.thread.usage.system_ns = 10, 20
    clock = cpuclock.find(guest.thread, number)
    assert clock is not None
    assert clock.read(guest.thread) == shows


@pytest.mark.parametrize("number", [-1, -5, 1, 12, -8 * 99_999 - 6])
async def test_other_ids_are_no_cpu_clocks(guest: Guest, number: int) -> None:
    assert cpuclock.find(guest.thread, number) is None
