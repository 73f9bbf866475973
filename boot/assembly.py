"""How each service of the topology is made: one small function per service.

Nothing heavy is imported before its own service is built, so that `hardtack --help` stays fast.
A builder reads the machine (configuration, bus, and the hardware that is shared by reference) and
returns the service; the supervisor gives it its lifecycle. Tests boot with builders of their own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, cast

import attrs

from boot.journal import Journal
from bus.collector import Collector
from bus.faults import CALLS, FaultRegistry
from bus.pauses import PauseWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from boot.config import Config
    from boot.supervisor import Service, Supervisor
    from bus.admission import Admission
    from bus.core import Bus, Handler, Port
    from services.drivers.nic.api import Wires
    from services.drivers.ram.api import Ram
    from services.fs.ext4.device import BlockDevice
    from services.net.api import Board


class Programs(Protocol):
    """What boot asks of proc beside its handlers."""

    @property
    def handlers(self) -> Mapping[type[Any], Handler]:
        """One coroutine function per request class."""

    async def run_init(
        self,
        argv: tuple[bytes, ...],
        env: tuple[bytes, ...],
        cwd: bytes,
        uid: int,
        gid: int,
    ) -> int:
        """Run the first program to its end; its wait(2) status. PosixError: it cannot be run."""

    def signal_program(self, number: int) -> bool:
        """Send a host's signal to the guest's foreground program; False: there is none yet."""

    def kill_all(self) -> None:
        """SIGKILL to every process; `run_init` returns soon after."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@attrs.define
class Machine:
    """One kernel under construction: what its services are made of and what they are."""

    config: Config
    bus: Bus
    admission: Admission
    ram: Ram | None = None
    core: Any = None
    wires: Wires | None = None
    board: Board | None = None
    """The lines between the network card and its user."""
    faults: FaultRegistry = attrs.field(init=False)
    """What is injected; armed from the first program's start on."""
    pauses: PauseWatch = attrs.field(factory=PauseWatch)
    collector: Collector = attrs.field(init=False)
    services: dict[str, Service] = attrs.field(factory=dict)
    kept: dict[str, Any] = attrs.field(factory=dict)
    """What a service's last incarnation has left to the next one, by name."""
    supervisor: Supervisor | None = None
    summary: str = ""
    """What `--stats` shows once the terminal is the caller's again."""
    journal: Journal = attrs.field(factory=Journal)
    began_s: float = attrs.field(factory=time.monotonic)
    thread_id: int = attrs.field(factory=threading.get_ident)
    """The host thread of the kernel's loop."""

    def __attrs_post_init__(self) -> None:
        self.faults = FaultRegistry(tuple(self.bus.ranks), self.config.seed or 0, _say)
        self.collector = Collector(self.pauses)
        self.collector.on_stock = self.admission.take_stock

    @property
    def memory(self) -> Ram:
        """Physical memory, once it is there."""
        assert self.ram is not None, "ram is built first"
        return self.ram

    @property
    def programs(self) -> Programs:
        """proc, as boot sees it."""
        return cast("Programs", self.services["proc"])


@attrs.define
class Hardware:
    """A part that is shared by reference and takes no messages."""

    release: Callable[[], None]
    handlers: Mapping[type[Any], Handler] = attrs.field(factory=dict)

    def close(self) -> None:
        """Give back what the host lent."""
        self.release()


def build_ram(machine: Machine) -> Service:
    """Physical memory of the configured size."""
    from services.drivers.ram.api import Ram

    machine.ram = ram = Ram(machine.config.ram_bytes)

    def release() -> None:
        machine.ram = None
        os.close(ram.fd)  # the mapping goes with the last view of it

    return Hardware(release)


def build_cpu(machine: Machine) -> Service:
    """The emulated core."""
    from services.drivers.cpu.engine import UnicornCore

    machine.core = core = UnicornCore(machine.memory)

    def release() -> None:
        machine.core = None
        core.close()

    return Hardware(release)


def build_clock(machine: Machine) -> Service:
    """The host's clocks."""
    from services.drivers.clock.service import ClockService

    return ClockService(kept=machine.kept.get("clock"))


def build_entropy(machine: Machine) -> Service:
    """The host's randomness, or the seed's."""
    from services.drivers.entropy.service import EntropyService

    return EntropyService(machine.config.seed, machine.kept.get("entropy"))


def build_console(machine: Machine) -> Service:
    """The three standard streams."""
    from services.drivers.console.service import ConsoleService

    return ConsoleService(kept=machine.kept.get("console"))


def build_hosttree(machine: Machine) -> Service:
    """The host's directories."""
    from services.drivers.hosttree.service import HostTreeService

    return HostTreeService(machine.memory, kept=machine.kept.get("hosttree"))


def build_disk(machine: Machine) -> Service:
    """The disk behind --image; without one, or with one in memory, nobody answers there."""
    image = machine.config.image
    if image is None or image.memory_bytes:
        return Hardware(lambda: None)
    from boot.config import ConfigError
    from boot.image.look import check_volume
    from services.drivers.disk.media import ImageRefused
    from services.drivers.disk.service import DiskService

    try:
        disk = DiskService(
            machine.memory,
            image.path,
            read_only=not image.writable,
            kept=machine.kept.get("disk"),
        )
    except ImageRefused as refused:
        raise ConfigError(refused.cause, refused.cure) from None
    if "disk" in machine.kept:
        return disk
    try:
        check_volume(image.path, image.writable)
    except ConfigError:
        disk.close()
        raise
    return disk


def build_nic(machine: Machine) -> Service:
    """The network card, connected as --net says; `machine.wires` are interrupt and doorbell."""
    from boot.config import ConfigError
    from services.drivers.nic.api import Wires
    from services.drivers.nic.service import NicService
    from services.drivers.nic.settings import LinkRefused

    config = machine.config
    machine.wires = wires = machine.wires or Wires()
    try:
        return NicService(
            machine.memory,
            wires,
            config.network,
            config.published,
            config.pcap,
            machine.kept.get("nic"),
        )
    except LinkRefused as refused:
        raise ConfigError(refused.cause, refused.cure) from refused


def build_vm(machine: Machine) -> Service:
    """Virtual memory."""
    from services.vm.service import VmService

    entry = getattr(machine.core, "kernel_entry", 0)
    return VmService(machine.memory, entry, machine.kept.get("vm"))


def disk_of(machine: Machine) -> Port | BlockDevice | None:
    """What --image names, as fs reaches it."""
    image = machine.config.image
    if image is None:
        return None
    if not image.memory_bytes:
        return machine.bus.port("fs", "disk")
    from boot.image.make import in_memory

    return in_memory(image.memory_bytes)


def build_fs(machine: Machine) -> Service:
    """The file system over --root and --bind."""
    from boot.etc import boot_files
    from boot.mounts import boot_mounts, root_mount
    from services.fs.service import FsService

    bus, config = machine.bus, machine.config
    vm, hosttree, clock = (bus.port("fs", name) for name in ("vm", "hosttree", "clock"))
    card = getattr(machine.services.get("nic"), "card", None)
    return FsService(
        machine.memory,
        vm,
        hosttree,
        clock,
        root_mount(config),
        boot_mounts(config),
        heap_bytes=config.heap_bytes,
        files=boot_files(config, card),
        disk=disk_of(machine),
        kept=machine.kept.get("fs"),
    )


def build_net(machine: Machine) -> Service:
    """The network; `machine.board` is where its sockets' readiness is seen."""
    from services.net.api import Board
    from services.net.service import NetService

    bus = machine.bus
    machine.board = machine.board or Board()
    assert machine.wires is not None, "nic is built first"
    vm, clock, entropy, nic = (bus.port("net", name) for name in ("vm", "clock", "entropy", "nic"))
    return NetService(
        machine.memory,
        machine.board,
        machine.wires,
        vm=vm,
        clock=clock,
        entropy=entropy,
        nic=nic,
        kept=machine.kept.get("net"),
    )


def build_script(machine: Machine) -> Service:
    """System calls that programs write themselves."""
    from services.script.service import ScriptService

    kept: ScriptService | None = machine.kept.get("script")
    return kept or ScriptService(machine.config.script_limits)


def build_proc(machine: Machine) -> Service:
    """Processes, and with them the gate between programs and the kernel.

    THE SEAM between boot and proc: the returned object is a `Programs`. Where proc's own entry
    has another shape, adapt it here and nowhere else.
    """
    import services.proc.service as proc

    if "proc" in machine.kept:
        return cast("Service", machine.kept["proc"])
    service = proc.ProcService(
        machine.bus,
        machine.memory,
        machine.core,
        machine.admission,
        machine.config,
        machine.board,
    )
    machine.faults.own(CALLS, service.injector)
    return cast("Service", service)


def build_killer(machine: Machine) -> Service:
    """Takes heap back; `machine.admission` rings for it."""
    from services.killer.service import KillerService

    kernel = getattr(machine.services.get("proc"), "kernel", None)
    log = print if kernel is None else lambda text: kernel.log(text)
    protected = frozenset(os.fsencode(name)[:15] for name in machine.config.protected)
    return KillerService(machine.bus, machine.admission, machine.collector, protected, log)


BUILDERS: Mapping[str, Callable[[Machine], Service]] = {
    "ram": build_ram,
    "cpu": build_cpu,
    "clock": build_clock,
    "entropy": build_entropy,
    "console": build_console,
    "hosttree": build_hosttree,
    "disk": build_disk,
    "nic": build_nic,
    "vm": build_vm,
    "fs": build_fs,
    "net": build_net,
    "script": build_script,
    "proc": build_proc,
    "killer": build_killer,
}
