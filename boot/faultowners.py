"""Who does which faults: services at their doors, drivers in their devices, the ledger in the heap.

System calls are proc's own (`assembly.build_proc`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from boot.faultscope import MachineScope
from bus.faultspec import DEVICE_KINDS
from bus.heapfaults import HeapInjector
from bus.injector import ServiceInjector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from boot.assembly import Machine
    from bus.faults import Armed, Injector
    from bus.faultspec import CallFault, Fault


class Device:
    """Whatever incarnation of a driver there is does its device's faults (its `injector`)."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine, self._name = machine, name
        self.kinds = tuple(DEVICE_KINDS[name])

    @property
    def _faults(self) -> Injector | None:
        return getattr(self._machine.services.get(self._name), "injector", None)

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """`Injector.refuse`."""
        faults = self._faults
        if faults is None:
            cure = "boot with --image FILE" if self._name == "disk" else "fault another"
            return f"there is no {self._name} ({cure})"
        return faults.refuse(fault)

    def arm(self, faults: Sequence[Armed]) -> None:
        """`Injector.arm`."""
        mine = self._faults
        if mine is not None:
            mine.arm(faults)


def own_faults(machine: Machine) -> None:
    """From now on faults strike this machine."""
    registry, scope = machine.faults, MachineScope(machine)
    for name in machine.bus.ranks:
        registry.own(name, ServiceInjector(machine.bus, name, scope))
    for name in DEVICE_KINDS:
        if name in machine.bus.ranks:
            registry.own(name, Device(machine, name))
    registry.own("heap", HeapInjector(machine.admission))
