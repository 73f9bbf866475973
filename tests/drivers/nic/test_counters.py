"""Does the metrics page tell what crossed the card?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from boot.measures import KernelSource
from bus.faults import FaultRegistry
from services.drivers.nic.user import plan
from tests.drivers.nic.hostside import echo, serve, started

if TYPE_CHECKING:
    import trio

    from bus.metrics import Metric


def measured(service: object) -> dict[str, dict[tuple[str, ...], float]]:
    machine: Any = SimpleNamespace(
        services={"nic": service}, supervisor=None, faults=FaultRegistry(("nic",))
    )
    found = KernelSource(machine).measures()
    return {one.name: dict(cast("Metric", one).values) for one in found}


async def test_traffic_is_counted(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    stream = await guest.open(plan.GATEWAY, await serve(nursery, echo))
    await stream.send_all(b"x" * 1000)
    assert await stream.receive_some() == b"x" * 1000
    guest.send_datagram(1, b"\xe0\0\0\1", 1, b"to a group")
    seen = measured(guest.service)
    for way in ("sent", "received"):
        assert seen["hardtack_nic_frames_total"][way,] >= 2
        assert seen["hardtack_nic_bytes_total"][way,] > 1000
    assert seen["hardtack_nic_interrupts_total"]["raised",] >= 1
    assert seen["hardtack_nic_dropped_total"]["datagrams",] == 1
    assert seen["hardtack_gateway_flows"] == {("tcp",): 1, ("udp",): 0}
    assert seen["hardtack_gateway_connections_total"]["opened",] == 1
    nursery.cancel_scope.cancel()
