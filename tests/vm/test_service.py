"""Is vm what its contract says, on a bus?"""

from __future__ import annotations

from bus.core import Bus
from bus.message import REGISTRY
from services.drivers.ram.api import Ram
from services.vm import api
from services.vm.check import check
from services.vm.service import VmService


def test_is_every_request_of_the_contract_served() -> None:
    declared = {kind for name, kind in REGISTRY.items() if name.startswith("vm.")}
    assert set(VmService(Ram(1 << 20)).handlers) == declared


async def test_does_a_space_live_and_die_over_the_bus() -> None:
    vm = VmService(Ram(8 << 20))
    bus = Bus({"vm": 0, "proc": 1}, {"proc": frozenset({"vm"})})
    bus.serve("vm", vm.handlers)
    port = bus.port("proc", "vm")
    made = await port.call(api.CreateSpace())
    flags = api.MAP_PRIVATE | api.MAP_ANONYMOUS
    mapped = await port.call(api.Map(made.space, 0, 1 << 20, 3, flags))
    assert await port.call(api.Fault(made.space, mapped.vaddr, api.ACCESS_WRITE)) == api.Resolved()
    pfns = await port.call(api.AllocFrames(5, True))
    assert len(set(pfns)) == 5
    check(vm.core, dict.fromkeys(pfns, 1))
    await port.call(api.FreeFrames(pfns))
    assert await port.call(api.DestroySpace(made.space)) == ()
    counts = await port.call(api.Frames())
    assert counts.free == counts.total
    assert counts.faults == 1
