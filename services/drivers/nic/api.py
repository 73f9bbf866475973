"""What net may ask of the NIC driver, and the rings by which frames cross.

The card is like virtio-net. Net owns the memory: it takes frames from vm, lays queues out in them
(`place_queue`, `queue_bytes`), makes its own ends (`DriverQueue`) and tells the card by `Attach`:
one receive queue and as many transmit queues as there are cores. See `rings` for the layout.

    queue = DriverQueue(ram.bytes, place_queue(paddr, 256), writable=True)     # receive
    queue.add(paddr, BUFFER_BYTES, token)      # or add_chain([(paddr, length), ...], token)
    if queue.publish(): wires.doorbell(RECEIVE)
    ...
    while (taken := queue.take()) is not None: token, written_bytes = taken

What is not a message is a wire (`Wires`), shared by reference as ram and cpu are: the card's
interrupt and its doorbell. At most one interrupt is pending: after it, the card stays quiet until
net has called `acknowledge`, and net looks at the queues once more after that:

    async def drain():
        while True:
            ... take all, refill ...
            wires.acknowledge()
            if nothing came meanwhile: wait for the next interrupt

`interrupt` is called from within `doorbell` as well as from the driver's tasks, and always last:
the card's own state is in order by then, so net may ring the doorbell from within it.

Segmentation offload crosses both ways: net may hand down TCP segments of up to 64 KiB with
`gso_bytes` set and a partial checksum, and must expect the same (`Card.offload`). A received
frame with NEEDS_CHECKSUM never left this host and is good; so is one with DATA_VALID.
"""

from __future__ import annotations

from errno import EINVAL, ENODEV
from typing import TYPE_CHECKING

import attrs

from bus.message import Request, request
from services.drivers.nic.rings import BUFFER_BYTES as BUFFER_BYTES
from services.drivers.nic.rings import DATA_VALID as DATA_VALID
from services.drivers.nic.rings import GSO_NONE as GSO_NONE
from services.drivers.nic.rings import GSO_TCPV4 as GSO_TCPV4
from services.drivers.nic.rings import GSO_TCPV6 as GSO_TCPV6
from services.drivers.nic.rings import HEADER as HEADER
from services.drivers.nic.rings import HEADER_BYTES as HEADER_BYTES
from services.drivers.nic.rings import MAX_FRAME_BYTES as MAX_FRAME_BYTES
from services.drivers.nic.rings import NEEDS_CHECKSUM as NEEDS_CHECKSUM
from services.drivers.nic.rings import DriverQueue as DriverQueue
from services.drivers.nic.rings import QueuePlace as QueuePlace  # noqa: TC001 - the transport resolves it
from services.drivers.nic.rings import RingBroken as RingBroken
from services.drivers.nic.rings import place_queue as place_queue
from services.drivers.nic.rings import queue_bytes as queue_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

RECEIVE = 0
"""The receive queue's number; transmit queue of core n is 1 + n."""


@attrs.frozen
class Suggested:
    """An address that the card's network expects of the guest, and the gateway there (or b"")."""

    address: bytes
    prefix_bits: int
    gateway: bytes = b""


@attrs.frozen
class Card:
    """What the card is: `kind` is none (no link at all), user or tap."""

    kind: str
    mac: bytes
    mtu: int
    """Bytes of an IP datagram, Ethernet's header not counted."""
    offload: bool
    """Partial checksums and TCP segmentation (IPv4 and IPv6) may cross, both ways."""
    addresses: tuple[Suggested, ...] = ()
    name_servers: tuple[bytes, ...] = ()

    @property
    def present(self) -> bool:
        """Whether there is anything to be reached."""
        return self.kind != "none"


def _no_doorbell(queue: int) -> None:
    """Nobody is at the other end yet."""


def _no_interrupt() -> None:
    """Nobody is at the other end yet."""


class Wires:
    """The lines between card and net: a doorbell down, an interrupt up, at most one pending."""

    __slots__ = ("coalesced", "doorbell", "interrupt", "interrupts", "pending")

    def __init__(self) -> None:
        self.doorbell: Callable[[int], None] = _no_doorbell
        """Set by the card. Net rings it with the number of a queue that it has published to."""
        self.interrupt: Callable[[], None] = _no_interrupt
        """Set by net. Called when a queue has something for it and none is pending."""
        self.pending = False
        self.interrupts = self.coalesced = 0

    def fire(self) -> None:
        """The card's side: interrupt net, unless it has yet to acknowledge the last one."""
        if self.pending:
            self.coalesced += 1
            return
        self.pending = True
        self.interrupts += 1
        self.interrupt()

    def acknowledge(self) -> None:
        """Net's side: from now on the card may interrupt again."""
        self.pending = False


@request("nic", idempotent=True)
class Describe(Request[Card]):
    """What the card is and what its network expects."""


@request("nic", errors=(EINVAL, ENODEV))
class Attach(Request[None]):
    """Use these queues from now on, in place of any before; frames come in as soon as they fit.

    EINVAL: a queue that is not in RAM or has no valid size. ENODEV: the card is of kind none.
    """

    receive: QueuePlace
    transmit: tuple[QueuePlace, ...]


@request("nic", errors=(ENODEV,))
class Kick(Request[None]):
    """`Wires.doorbell` as a message: a queue has new chains. ENODEV: there is no such queue."""

    queue: int


@request("nic", idempotent=True)
class Detach(Request[None]):
    """Forget the queues: when this is answered, the card no longer touches their memory."""
