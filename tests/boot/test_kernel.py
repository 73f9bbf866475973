"""Does a kernel boot, relay what it is told, and leave nothing behind?"""

from __future__ import annotations

import errno
import gc
import os
import signal
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from boot.config import MIB, Config
from boot.kernel import run_kernel
from boot.relay import GRACE_S
from boot.supervisor import Epitaph, ServiceFailed
from boot.topology import EMBEDDED, Restart, Topology
from bus.errors import PosixError, ServiceUnavailable
from services.drivers.clock.api import MONOTONIC, Now
from tests.boot.stubs import StubProc, StubService, builders

if TYPE_CHECKING:
    from trio.testing import MockClock

CONFIG = Config(
    argv=("/bin/p", "ä"), env=(("K", "V"),), workdir="/w", uid=5, gid=6, ram_bytes=16 * MIB
)


def open_descriptors() -> set[str]:
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


async def exits_with_3(proc: StubProc) -> int:
    return 3 << 8


async def test_the_status_of_the_program_is_the_status_of_the_kernel() -> None:
    assert await run_kernel(CONFIG, builders=builders(exits_with_3)) == 3


async def test_death_by_a_signal_is_128_and_its_number() -> None:
    async def dies(proc: StubProc) -> int:
        return signal.SIGKILL

    assert await run_kernel(CONFIG, builders=builders(dies)) == 137


async def test_the_program_gets_what_was_configured() -> None:
    seen: list[Any] = []

    async def notes(proc: StubProc) -> int:
        seen.append(proc.started)
        return 0

    await run_kernel(CONFIG, builders=builders(notes))
    assert seen == [((b"/bin/p", "ä".encode()), (b"K=V",), b"/w", 5, 6)]


async def test_services_start_by_rank_and_stop_in_reverse() -> None:
    journal: list[str] = []

    async def program(proc: StubProc) -> int:
        journal.append("program")
        return 0

    stubs = {
        name: (lambda machine, name=name: StubService(name, journal))
        for name in ("console", "vm", "fs")
    }
    await run_kernel(CONFIG, builders=builders(program, **stubs))
    assert journal == [
        *(f"{what} {name}" for name in ("console", "vm", "fs") for what in ("build", "run")),
        "program",
        *(
            f"{what} {name}"
            for name in ("fs", "vm", "console")
            for what in ("stop", "end", "close")
        ),
    ]


async def test_proc_can_call_a_driver_while_it_runs_and_not_afterwards() -> None:
    ports: list[Any] = []

    async def program(proc: StubProc) -> int:
        port = proc.machine.bus.port("proc", "clock")
        ports.append(port)
        assert await port.call(Now(MONOTONIC)) >= 0
        return 0

    await run_kernel(CONFIG, builders=builders(program))
    with pytest.raises(ServiceUnavailable, match="clock is not running"):
        await ports[0].call(Now(MONOTONIC))


async def test_no_descriptor_is_left_open() -> None:
    before = open_descriptors()
    await run_kernel(CONFIG, builders=builders(exits_with_3))
    assert open_descriptors() == before


async def test_a_program_that_cannot_be_run_is_told_as_it_is() -> None:
    async def missing(proc: StubProc) -> int:
        raise PosixError(errno.ENOENT)

    before = open_descriptors()
    with pytest.raises(PosixError) as told:
        await run_kernel(CONFIG, builders=builders(missing))
    assert told.value.errno == errno.ENOENT
    assert open_descriptors() == before


def fragile(name: str) -> Topology:
    """The usual topology, where a service may fail but once."""
    services = tuple(
        attrs.evolve(spec, restart=Restart(intensity=1)) if spec.name == name else spec
        for spec in EMBEDDED.services
    )
    return Topology(services)


class Breaks(StubService):
    """Starts, and breaks down when it is told to."""

    def __init__(self, order: trio.Event) -> None:
        super().__init__("vm", [])
        self.order = order

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await self.order.wait()
        raise ZeroDivisionError("a page table went missing")


async def test_a_service_that_breaks_ends_the_kernel_with_an_epitaph() -> None:
    order = trio.Event()
    epitaphs: list[Epitaph] = []

    async def program(proc: StubProc) -> int:
        order.set()
        await trio.sleep_forever()

    before = open_descriptors()
    with pytest.raises(ServiceFailed, match="service vm failed: ZeroDivisionError"):
        await run_kernel(
            CONFIG,
            topology=fragile("vm"),
            builders=builders(program, vm=lambda machine: Breaks(order)),
            on_epitaph=epitaphs.append,
        )
    epitaph, *_ = epitaphs
    assert (epitaph.service, epitaph.crash.where) == ("vm", "run")
    assert "in run" in epitaph.crash.traceback
    assert open_descriptors() == before


async def test_a_service_that_cannot_be_built_stops_the_others() -> None:
    journal: list[str] = []

    def broken(machine: Any) -> Any:
        raise OSError(errno.ENOMEM, "no memory on the host")

    with pytest.raises(OSError, match="no memory"):
        await run_kernel(
            CONFIG,
            builders=builders(
                exits_with_3, fs=broken, vm=lambda machine: StubService("vm", journal)
            ),
        )
    assert journal[-1] == "close vm"


async def test_a_rank_violation_never_boots() -> None:
    from boot.topology import TopologyError

    upward = attrs.evolve(
        EMBEDDED,
        services=tuple(
            attrs.evolve(spec, peers=frozenset({"proc"})) if spec.name == "vm" else spec
            for spec in EMBEDDED.services
        ),
    )
    with pytest.raises(TopologyError, match=r"vm \(rank 1\) may not call proc \(rank 4\)"):
        await run_kernel(CONFIG, topology=upward, builders=builders(exits_with_3))


async def test_ctrl_c_goes_to_the_program_and_a_second_one_kills() -> None:
    async def stubborn(proc: StubProc) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        assert await proc.signals_out.receive() == signal.SIGINT
        assert not proc.killed.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await proc.killed.wait()
        return signal.SIGKILL

    assert await run_kernel(CONFIG, builders=builders(stubborn)) == 137


async def test_slow_ctrl_cs_are_all_the_programs_own(autojump_clock: MockClock) -> None:
    async def editor(proc: StubProc) -> int:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            assert await proc.signals_out.receive() == signal.SIGINT
            await trio.sleep(2.1)
        assert not proc.killed.is_set()
        return 0

    assert await run_kernel(CONFIG, builders=builders(editor)) == 0


async def test_sigterm_gives_the_program_time_and_then_kills(autojump_clock: MockClock) -> None:
    async def deaf(proc: StubProc) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await proc.signals_out.receive() == signal.SIGTERM
        told = trio.current_time()
        await proc.killed.wait()
        assert trio.current_time() - told == pytest.approx(GRACE_S)
        return signal.SIGKILL

    assert await run_kernel(CONFIG, builders=builders(deaf)) == 137
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
