"""How the services fare: who is up, restarts, hangs, how long mending took; what was injected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.metrics import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from boot.supervisor import Supervisor
    from bus.faults import FaultRegistry
    from bus.metrics import Measure


def supervision(supervisor: Supervisor) -> Iterator[Measure]:
    """The supervisor's children."""
    children = {child.spec.name: child for child in supervisor.children}
    yield gauge(
        "hardtack_service_up",
        "1 while the service is served; 0 while it is being restarted.",
        {(name,): int(child.served and not child.failing) for name, child in children.items()},
        ("service",),
    )
    yield counter(
        "hardtack_service_restarts_total",
        "Incarnations after the first.",
        {(name,): child.generation - 1 for name, child in children.items()},
        ("service",),
    )
    yield counter(
        "hardtack_service_hangs_total",
        "How often its pulse was not felt, or a call in it hung.",
        {(name,): child.hangs for name, child in children.items()},
        ("service",),
    )
    yield gauge(
        "hardtack_service_recovery_seconds",
        "From the last failure until it was served again.",
        {(name,): child.recoveries[-1] for name, child in children.items() if child.recoveries},
        ("service",),
    )


def faults(registry: FaultRegistry) -> Iterator[Measure]:
    """What was injected, and what is armed."""
    yield counter(
        "hardtack_faults_injected_total",
        "Faults that have struck, by target and kind.",
        dict(registry.injected().items()),
        ("target", "kind"),
    )
    yield gauge(
        "hardtack_faults_armed",
        "Faults that may strike.",
        {(): sum(not one.spent for one in registry.list())},
    )
