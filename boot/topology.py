"""Who is in the kernel, and who may call whom: data, checked when the kernel starts.

A service may call its peers alone, and every peer has a lower rank; so calls cannot form a cycle,
and no two services can wait for each other. Start-up follows the rank upwards, shutdown
downwards.

Restart policies are in OTP's words: a `permanent` service is always restarted, a `transient` one
only after a failure, a `temporary` one never; more than `intensity` restarts within `period_s`
mean that restarting does not help.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable


class TopologyError(Exception):
    """The topology is not a ranked graph; says which edge or service, and why."""


class Strategy(enum.Enum):
    """Which services are restarted together with one that failed."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class Lifetime(enum.Enum):
    """When a service is restarted."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


@attrs.frozen
class Restart:
    """What the supervisor does about one service's failures, and how long it waits at its end."""

    lifetime: Lifetime = Lifetime.PERMANENT
    intensity: int = 12
    period_s: float = 10.0
    shutdown_s: float = 5.0
    hang_s: float = 1.0
    """A call or a beat of its heart that takes longer hangs."""


HARDWARE = Restart(Lifetime.TEMPORARY)
"""Shared by reference, with nothing that could fail but the whole."""


@attrs.frozen
class ServiceSpec:
    """A place in the kernel for a service."""

    name: str
    rank: int
    peers: frozenset[str] = frozenset()
    restart: Restart = Restart()
    owns: str = ""
    """What it is for, in a few words, for `hardtack graph`."""


@attrs.frozen
class Topology:
    """All services and the strategy over them; valid once `check` has passed."""

    services: tuple[ServiceSpec, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE

    def __getitem__(self, name: str) -> ServiceSpec:
        for spec in self.services:
            if spec.name == name:
                return spec
        raise KeyError(name)

    @property
    def ranks(self) -> dict[str, int]:
        """Rank by name, in starting order."""
        return {spec.name: spec.rank for spec in self.starting_order()}

    @property
    def peers(self) -> dict[str, frozenset[str]]:
        """Whom each service may call."""
        return {spec.name: spec.peers for spec in self.starting_order()}

    def starting_order(self) -> tuple[ServiceSpec, ...]:
        """Callees before callers; as listed within a rank."""
        return tuple(sorted(self.services, key=lambda spec: spec.rank))

    def enduring(self, intensity: int, period_s: float) -> Topology:
        """The same, where each service may fail so often."""
        return attrs.evolve(
            self,
            services=tuple(
                attrs.evolve(
                    spec,
                    restart=attrs.evolve(spec.restart, intensity=intensity, period_s=period_s),
                )
                for spec in self.services
            ),
        )

    def check(self) -> Topology:
        """This topology, or TopologyError with every fault of it."""
        faults = list(_faults(self.services))
        if faults:
            raise TopologyError("; ".join(faults))
        return self


def _faults(services: tuple[ServiceSpec, ...]) -> Iterable[str]:
    ranks: dict[str, int] = {}
    for spec in services:
        if spec.name in ranks:
            yield f"service {spec.name} is listed twice"
        ranks[spec.name] = spec.rank
        times_s = (spec.restart.period_s, spec.restart.shutdown_s, spec.restart.hang_s)
        if spec.restart.intensity < 0 or min(times_s) <= 0:
            yield f"service {spec.name} has a restart policy that cannot be: {spec.restart}"
    for spec in services:
        for peer in sorted(spec.peers):
            if peer not in ranks:
                yield f"{spec.name} calls {peer}, which is no service here"
            elif ranks[peer] >= spec.rank:
                yield (
                    f"{spec.name} (rank {spec.rank}) may not call {peer} (rank {ranks[peer]}):"
                    " calls go down in rank"
                )


_DRIVERS = (
    ServiceSpec("ram", 0, restart=HARDWARE, owns="physical memory, shared by all"),
    ServiceSpec("cpu", 0, restart=HARDWARE, owns="emulated cores and their MMU"),
    ServiceSpec("clock", 0, owns="the time"),
    ServiceSpec("entropy", 0, owns="randomness"),
    ServiceSpec("console", 0, owns="the caller's standard streams and terminal"),
    ServiceSpec("hosttree", 0, owns="directories of the host"),
    ServiceSpec("disk", 0, owns="the disk image and the commands on their way to it"),
    ServiceSpec("nic", 0, owns="the network card and what it is connected to"),
)

EMBEDDED = Topology(
    (
        *_DRIVERS,
        ServiceSpec("vm", 1, owns="address spaces, frames, page faults"),
        ServiceSpec(
            "fs",
            2,
            frozenset({"vm", "hosttree", "clock", "disk"}),
            Restart(shutdown_s=60.0),
            owns="the tree, files, the page cache",
        ),
        ServiceSpec(
            "net", 2, frozenset({"vm", "clock", "entropy", "nic"}), owns="sockets, TCP, UDP, IP"
        ),
        ServiceSpec("script", 3, owns="Lua states that programs have put into the kernel"),
        ServiceSpec(
            "proc",
            4,
            frozenset({"vm", "fs", "net", "script", "clock", "entropy", "console", "cpu"}),
            owns="processes, threads, system calls, signals",
        ),
        ServiceSpec(
            "killer", 5, frozenset({"proc", "fs", "net"}), owns="relief when the heap is short"
        ),
    )
)
"""Every service in one process; ram and cpu are shared by reference and take no messages."""
