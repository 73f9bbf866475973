"""What faults of the entropy source do to draws."""

from __future__ import annotations

from bus.faults import FaultRegistry
from services.drivers.entropy.api import Draw
from services.drivers.entropy.service import EntropyService


async def test_zeros_and_repeats() -> None:
    service, plain = EntropyService(7), EntropyService(7)
    registry = FaultRegistry(("entropy",))
    registry.own("entropy", service.injector)
    number = registry.add("entropy:repeat,space=1")
    first = await service.draw(Draw(8))
    assert first == await plain.draw(Draw(8))
    assert await service.draw(Draw(8)) == first
    assert await service.draw(Draw(12)) == first + first[:4]
    registry.clear(number)
    registry.add("entropy:zero,times=1")
    assert await service.draw(Draw(5)) == bytes(5)
    assert await service.draw(Draw(8)) == await plain.draw(Draw(8))
    registry.clear()
    assert await service.draw(Draw(8)) == await plain.draw(Draw(8))
