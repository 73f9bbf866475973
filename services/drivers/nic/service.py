"""The NIC driver's service: the card's requests, its doorbell, and the back end's lifecycle.

The doorbell is called by net, straight into the card; a bug behind it is ours nevertheless: it is
caught there and raised by `run`, so that the supervisor takes this service for the broken one.
"""

from __future__ import annotations

from errno import EINVAL, ENODEV
from typing import TYPE_CHECKING, Any, Protocol

import trio

from bus.errors import PosixError
from services.drivers.nic.api import Attach, Card, Describe, Detach, Kick, Wires
from services.drivers.nic.card import Rings
from services.drivers.nic.faults import NicFaults
from services.drivers.nic.link import Link
from services.drivers.nic.rings import RingBroken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from services.drivers.nic.pcap import Recorder
    from services.drivers.nic.settings import Network, Published
    from services.drivers.ram.api import Ram


class Backend(Protocol):
    """What the card is connected to."""

    card: Card

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Its tasks, until cancelled."""

    def counters(self) -> Mapping[str, int]:
        """What it counts beside the link: `dropped_REASON` and, if it has any, flows."""

    def close(self) -> None:
        """Give back what the host lent."""


class Nothing:
    """The back end `none`: no carrier."""

    card = Card("none", bytes(6), 1500, offload=False)

    def __init__(self, link: Link) -> None:
        link.sender = self

    def send(self, frame: list[memoryview]) -> bool:
        """Never called: nothing can be attached."""
        return True

    def settle(self) -> None:
        """Never called either."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Nothing to do."""
        task_status.started()
        await trio.sleep_forever()

    def counters(self) -> Mapping[str, int]:
        """Nothing happens."""
        return {}

    def close(self) -> None:
        """Nothing to give back."""


def _connect(network: Network, published: Sequence[Published], link: Link, rings: Rings) -> Backend:
    """The back end that was asked for. LinkRefused: the host will not."""
    if network.kind == "tap":
        from services.drivers.nic.tap import Tap

        return Tap(network, link, rings)
    if network.kind == "user":
        from services.drivers.nic.user.backend import User

        return User(published, link, rings)
    return Nothing(link)


Kept = tuple[Link, Rings, Backend, "Recorder | None", NicFaults]


def _insert(
    ram: Ram, wires: Wires, network: Network, published: Sequence[Published], pcap: str | None
) -> Kept:
    """A new card, connected. LinkRefused."""
    recorder = None
    if pcap is not None:
        from services.drivers.nic.pcap import Recorder

        recorder = Recorder(pcap)
    link = Link(recorder)
    rings = Rings(ram.bytes, wires, link)
    try:
        backend = _connect(network, published, link, rings)
        return link, rings, backend, recorder, NicFaults(link)
    except BaseException:
        if recorder is not None:
            recorder.close()
        raise


class NicService:
    """Serves "nic": a card over `ram`, connected to `network`. LinkRefused: it cannot be."""

    def __init__(
        self,
        ram: Ram,
        wires: Wires,
        network: Network,
        published: Sequence[Published] = (),
        pcap: str | None = None,
        kept: Kept | None = None,
    ) -> None:
        if kept is None:
            kept = _insert(ram, wires, network, published, pcap)
        self.link, self.rings, self.backend, self._recorder, self.injector = kept
        self._failed: trio.Event | None = None
        self._failure: Exception | None = None
        wires.doorbell = self.doorbell
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            Describe: self.describe,
            Attach: self.attach,
            Kick: self.kick,
            Detach: self.detach,
        }

    @property
    def card(self) -> Card:
        """What the card is, for boot, which writes resolv.conf."""
        return self.backend.card

    async def describe(self, request: Describe) -> Card:
        """The card as it is."""
        return self.card

    async def attach(self, request: Attach) -> None:
        """Use net's queues from now on."""
        if not self.backend.card.present:
            raise PosixError(ENODEV)
        if not request.transmit:
            raise PosixError(EINVAL)
        try:
            self.rings.attach(request.receive, request.transmit)
        except RingBroken:
            raise PosixError(EINVAL) from None

    async def kick(self, request: Kick) -> None:
        """The doorbell, by message."""
        if not 0 <= request.queue <= self.rings.transmit_queues:
            raise PosixError(ENODEV)
        self.rings.doorbell(request.queue)

    async def detach(self, request: Detach) -> None:
        """Forget the queues."""
        self.rings.detach()

    def doorbell(self, queue: int) -> None:
        """`Wires.doorbell`: never raises."""
        try:
            self.rings.doorbell(queue)
        except Exception as error:
            self._failure = error
            if self._failed is not None:
                self._failed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The back end's tasks; raises what went wrong behind the doorbell."""
        self._failed = failed = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run_backend)
            nursery.start_soon(self.injector.run)
            task_status.started()
            await failed.wait()
            assert self._failure is not None
            raise self._failure

    async def _run_backend(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.backend.run(task_status=task_status)

    def counters(self) -> Mapping[str, int]:
        """What crossed the link (sent: by the guest), and what did not, for the metrics page."""
        link, wires = self.link, self.rings.wires
        return {
            "sent_frames": link.sent_frames,
            "sent_bytes": link.sent_bytes,
            "received_frames": link.received_frames,
            "received_bytes": link.received_bytes,
            "interrupts": wires.interrupts,
            "interrupts_coalesced": wires.coalesced,
            "breaks": self.rings.breaks,
            "dropped_malformed_chain": self.rings.malformed,
            **self.backend.counters(),
        }

    def keep(self) -> Kept:
        """The rings as they stand, the back end with its connections, and what faults hold up."""
        return self.link, self.rings, self.backend, self._recorder, self.injector

    def close(self) -> None:
        """Detach, and leave nothing behind on the host."""
        self.rings.detach()
        self.backend.close()
        if self._recorder is not None:
            self._recorder.close()
