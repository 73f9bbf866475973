"""The sources that only boot can see: what proc, vm and the build say of themselves.

Read from the services' plain counters, without a message: a scrape must not disturb what it
measures. A service that is not there, or has no such counter (tests boot with stubs), is left out.
"""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Any

from boot import VERSION
from boot.measures import storage
from boot.measures.network import network
from boot.measures.services import faults, supervision
from bus.metrics import Distribution, Histogram, counter, gauge
from services.proc.meter import LATENCY_BOUNDS_S
from services.proc.table import CALLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from boot.assembly import Machine
    from bus.core import Bus
    from bus.metrics import Measure


def build_source() -> Iterator[Measure]:
    """Which build this is, and how much it keeps."""
    yield gauge(
        "hardtack_build_info",
        "Always 1; the build is in the labels.",
        {(VERSION, platform.python_version()): 1},
        ("version", "python"),
    )
    yield gauge(
        "hardtack_live_blocks",
        "Blocks of memory that Python's allocator has handed out: the live heap, in objects.",
        {(): sys.getallocatedblocks()},
    )


def syscalls(kernel: Any) -> Mapping[str, int]:
    """How often each system call was made, by name; unknown numbers as syscall_N."""
    made = {
        CALLS[number].name if number in CALLS else f"syscall_{number}": count
        for number, count in enumerate(kernel.call_counts)
        if count
    }
    for number, count in kernel.unknown_calls.items():
        made.setdefault(f"syscall_{number}", count)
    return made


def sent(bus: Bus, target: str, request: str) -> int:
    """How many requests of a kind were sent to a service, by all callers."""
    return sum(
        count
        for port in bus.ports
        if port.target == target
        for kind, count in port.counts.items()
        if kind.__name__ == request
    )


WORST = 10


def _holdings(process: Any) -> tuple[int, int, str]:
    """What a process has in the kernel's heap, without its memory regions, which vm knows."""
    descriptors = len(process.descriptors.slots) if process.descriptors else 0
    held = descriptors + len(process.threads) + len(process.children)
    return held, process.pid, process.comm.decode(errors="replace")


class KernelSource:
    """The services of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def measures(self) -> Iterator[Measure]:
        """A metrics source."""
        services = self._machine.services
        kernel = getattr(services.get("proc"), "kernel", None)
        if kernel is not None:
            yield from self._proc(kernel)
        memory = getattr(services.get("vm"), "core", None)
        if memory is not None:
            yield from self._vm(memory)
        kills = getattr(services.get("killer"), "kills", None)
        if kills is not None:
            yield counter(
                "hardtack_heap_kills_total", "Processes killed for the heap's sake.", {(): kills}
            )
        count = getattr(services.get("nic"), "counters", None)
        if count is not None:
            yield from self._nic(count())
        net = getattr(services.get("net"), "network", None)
        if net is not None:
            yield from network(net)
        tree = getattr(services.get("fs"), "tree", None)
        if tree is not None:
            yield from storage.caches(tree)
            yield from storage.journals(tree)
        count = getattr(services.get("disk"), "counters", None)
        if count is not None:
            yield from storage.disk(count())
        if self._machine.supervisor is not None:
            yield from supervision(self._machine.supervisor)
        yield from faults(self._machine.faults)

    def _proc(self, kernel: Any) -> Iterator[Measure]:
        yield counter(
            "hardtack_syscalls_total",
            "System calls made by programs.",
            {(name,): count for name, count in syscalls(kernel).items()},
            ("name",),
        )
        yield counter(
            "hardtack_syscall_errors_total",
            "Those that were answered with an error.",
            {
                (CALLS[number].name,): count
                for number, count in enumerate(kernel.error_counts)
                if count
            },
            ("name",),
        )
        yield Histogram(
            "hardtack_syscall_seconds",
            "Time in the kernel of system calls that did not wait, in the slices that are timed"
            " (one in seven of a busy thread's).",
            ("name",),
            {
                (CALLS[number].name,): Distribution(LATENCY_BOUNDS_S, row[:-1], row[-1] / 1e9)
                for number, row in list(kernel.latencies.items())
                if number in CALLS
            },
        )
        usage = kernel.usage()
        yield counter(
            "hardtack_program_cpu_seconds_total",
            "Time of the core that programs have used, as times(2) tells it.",
            {("user",): usage.user_ns / 1e9, ("system",): usage.system_ns / 1e9},
            ("mode",),
        )
        yield counter(
            "hardtack_context_switches_total",
            "How often threads gave the core up: to wait, or as their turn was over.",
            {("voluntary",): usage.waits, ("involuntary",): usage.preemptions},
            ("kind",),
        )
        yield gauge(
            "hardtack_processes",
            "Processes, zombies among them.",
            {
                ("alive",): sum(not p.zombie for p in kernel.processes.values()),
                ("zombie",): sum(p.zombie for p in kernel.processes.values()),
            },
            ("state",),
        )
        yield gauge("hardtack_threads", "Threads of programs.", {(): len(kernel.threads)})
        worst = sorted(map(_holdings, kernel.processes.values()), reverse=True)[:WORST]
        yield gauge(
            "hardtack_process_holdings",
            "Descriptors, threads and children of the processes that have most.",
            {(str(pid), name): held for held, pid, name in worst},
            ("pid", "name"),
        )
        yield counter("hardtack_forks_total", "Processes made.", {(): kernel.fork_count})
        yield counter(
            "hardtack_traps_page_fault_total", "Page-fault traps.", {(): kernel.fault_count}
        )

    def _nic(self, counts: Mapping[str, int]) -> Iterator[Measure]:
        for unit in ("frames", "bytes"):
            yield counter(
                f"hardtack_nic_{unit}_total",
                "What crossed the network card, as the guest sees it.",
                {(way,): counts[f"{way}_{unit}"] for way in ("sent", "received")},
                ("direction",),
            )
        yield counter(
            "hardtack_nic_dropped_total",
            "Frames and datagrams that went no further, by reason.",
            {
                (name.removeprefix("dropped_"),): count
                for name, count in counts.items()
                if name.startswith("dropped_")
            },
            ("reason",),
        )
        yield counter(
            "hardtack_nic_interrupts_total",
            "Interrupts of the network card; coalesced: those that were not needed.",
            {
                ("raised",): counts["interrupts"],
                ("coalesced",): counts["interrupts_coalesced"],
            },
            ("kind",),
        )
        yield counter(
            "hardtack_nic_ring_breaks_total",
            "How often the rings made no sense, so that net had to attach anew.",
            {(): counts["breaks"]},
        )
        if "flows" in counts:
            yield gauge(
                "hardtack_gateway_flows",
                "TCP connections and UDP mappings that the gateway holds on the host's sockets.",
                {("tcp",): counts["flows"], ("udp",): counts["mappings"]},
                ("protocol",),
            )
            yield counter(
                "hardtack_gateway_connections_total",
                "TCP connections across the gateway: of the guest's, to published ports, refused.",
                {(kind,): counts[f"flows_{kind}"] for kind in ("opened", "accepted", "refused")},
                ("kind",),
            )

    def _vm(self, memory: Any) -> Iterator[Measure]:
        counts = memory.counts()
        yield gauge(
            "hardtack_frames",
            "Physical frames of 4096 bytes.",
            {("free",): counts.free, ("used",): counts.total - counts.free},
            ("state",),
        )
        yield gauge("hardtack_address_spaces", "Address spaces.", {(): counts.spaces})
        of_files = sent(self._machine.bus, "vm", "InstallPages")
        yield counter(
            "hardtack_page_faults_total",
            "Faults that virtual memory served; file: those that needed pages of a file.",
            {("file",): of_files, ("anonymous",): max(0, counts.faults - of_files)},
            ("kind",),
        )
