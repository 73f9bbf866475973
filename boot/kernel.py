"""One kernel, from configuration to exit status.

`run_kernel` makes the bus and the admission point, starts every service of the topology in order
under the supervisor, runs the first program, and stops everything again, whatever happened. The
host's signals are taken care of around all that (`relay.py`).
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from boot.assembly import BUILDERS, Machine
from boot.config import refusal
from boot.relay import Relay
from boot.supervisor import innermost, supervise
from boot.topology import EMBEDDED
from bus.admission import Admission
from bus.census import HEAP
from bus.core import Bus
from bus.faults import FaultError
from bus.heapfaults import HeapFaults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from boot.config import Config
    from boot.supervisor import Epitaph, Service
    from boot.topology import Topology
    from bus.metrics import Metrics

EXIT_NOT_FOUND, EXIT_CANNOT_RUN, EXIT_SOFTWARE = 127, 126, 70


def exit_status(wait_status: int) -> int:
    """What a shell would report for a wait(2) status: the code, or 128 + the signal's number."""
    code = os.waitstatus_to_exitcode(wait_status)
    return 128 - code if code < 0 else code


def _stuck(names: list[str]) -> NoReturn:
    """Services ignore their cancellation: leave without unwinding, with the terminal in order."""
    print(f"hardtack: error: {', '.join(names)} would not stop (killed)", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_SOFTWARE)


def new_metrics(machine: Machine) -> Metrics:
    """Everything that is measured, ready to be asked."""
    from boot.measures import KernelSource, build_source
    from bus.metrics import Metrics, bus_source, ledger_source

    metrics = Metrics()
    for source in (
        build_source,
        machine.pauses.measures,
        bus_source(machine.bus),
        ledger_source(machine.admission),
        KernelSource(machine).measures,
    ):
        metrics.register(source)
    return metrics


async def _serve_metrics(machine: Machine, nursery: trio.Nursery) -> None:
    """Open the metrics page, if one was asked for."""
    address = machine.config.metrics
    if address is not None:
        from boot.metrics_http import MetricsPage

        await nursery.start(MetricsPage(new_metrics(machine)).run, address)


async def _serve_control(machine: Machine, nursery: trio.Nursery) -> None:
    """Open the control socket, unless none is wanted. ConfigError: it cannot be."""
    settings = machine.config.control
    if settings is not None:
        from boot.control.server import ControlServer

        await nursery.start(ControlServer(machine, settings).run)


def _keep_log(machine: Machine, kernel: Any) -> None:
    """What proc says goes into the journal as well."""
    say = kernel.log

    def log(text: str) -> None:
        machine.journal.write(text)
        say(text)

    kernel.log = log


def _on_restart(machine: Machine, name: str, service: Service) -> None:
    """The next incarnation of a service is there: it is what is asked, and its faults go on."""
    machine.services[name] = service
    machine.faults.tell(name)


def _arm(machine: Machine) -> None:
    """Arm what the configuration injects; ConfigError: the machine cannot do it."""
    from boot.faultowners import own_faults

    own_faults(machine)
    for text in machine.config.faults:
        try:
            machine.faults.add(text)
        except FaultError as refused:
            raise refusal(refused) from None


async def _run_program(machine: Machine, relay: Relay) -> int:
    """Everything that goes on while the program runs; its exit status."""
    began = trio.current_time()
    with machine.collector.rule():
        kernel = getattr(machine.programs, "kernel", None)
        if kernel is not None:
            kernel.collector = machine.collector
            _keep_log(machine, kernel)
        async with trio.open_nursery() as nursery:
            await _serve_metrics(machine, nursery)
            await _serve_control(machine, nursery)
            relay.begin(machine.programs)
            _arm(machine)
            status = await run_init(machine)
            relay.end()
            machine.faults.clear()
            nursery.cancel_scope.cancel()
    if machine.config.stats:
        from boot.stats import summary

        machine.summary = summary(machine, trio.current_time() - began)
    return status


def _encoded(words: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(os.fsencode(word) for word in words)


async def run_init(machine: Machine) -> int:
    """Run the configured program; its exit status as a shell would report it."""
    config = machine.config
    status = await machine.programs.run_init(
        _encoded(config.argv),
        _encoded(tuple(f"{name}={value}" for name, value in config.env)),
        os.fsencode(config.workdir),
        config.uid,
        config.gid,
    )
    return exit_status(status)


async def run_kernel(
    config: Config,
    *,
    topology: Topology = EMBEDDED,
    builders: Mapping[str, Callable[[Machine], Service]] = BUILDERS,
    on_epitaph: Callable[[Epitaph], None] | None = None,
) -> int:
    """Boot, run `config.argv` to its end, stop; the exit status for the host.

    Raises PosixError where the program cannot be run, ServiceFailed where a service broke down.
    `on_epitaph` is called after the stop for each service or handler that broke on the way.
    """
    if config.restarts is not None:
        topology = topology.enduring(*config.restarts)
    topology.check()
    admission = Admission(config.heap_bytes, HEAP)
    if config.heap_faults is not None:
        admission.fails = HeapFaults(config.heap_faults or None, config.seed or 0)
    machine = Machine(config, Bus(topology.ranks, topology.peers), admission)
    relay, status = Relay(), EXIT_SOFTWARE
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(relay.run)
            with relay.booting:
                status = await _boot(machine, topology, builders, relay, on_epitaph)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise innermost(group) from None
    if relay.booting.cancelled_caught and relay.ended_by is not None:
        return 128 + relay.ended_by
    if machine.summary:
        print(machine.summary, file=sys.stderr, flush=True)
    return status


async def _boot(
    machine: Machine,
    topology: Topology,
    builders: Mapping[str, Callable[[Machine], Service]],
    relay: Relay,
    on_epitaph: Callable[[Epitaph], None] | None,
) -> int:
    """Start every service, run the program, stop them; the exit status."""
    supervisor = None
    try:
        async with supervise(machine.bus, topology, _stuck) as supervisor:
            machine.supervisor, machine.kept = supervisor, supervisor.kept
            supervisor.on_restart = functools.partial(_on_restart, machine)
            supervisor.log = machine.journal.write
            for spec in topology.starting_order():
                build = functools.partial(builders[spec.name], machine)
                machine.services[spec.name] = await supervisor.start(spec.name, build)
                await trio.lowlevel.checkpoint()  # somebody may have thought better of it
            return await _run_program(machine, relay)
    finally:
        machine.services.clear()  # no cycle keeps physical memory alive
        machine.kept.clear()
        machine.supervisor = None
        if supervisor is not None and on_epitaph is not None:
            for epitaph in supervisor.epitaphs:
                on_epitaph(epitaph)
