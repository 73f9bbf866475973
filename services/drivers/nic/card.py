"""The card's rings: takes what net made available, fills what it offered, interrupts it.

Invariants: the link is offered frames of a transmit queue in their order; one that it refuses
stays in the ring, and its queue waits for `resume`. An interrupt is always the last thing that a
call does, so that net may come back (`doorbell`) from within it.

A ring that makes no sense ends the attachment (virtio: the device needs a reset): `broken` says
why, and net must attach anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.drivers.nic.api import RECEIVE, Wires
from services.drivers.nic.rings import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    CardQueue,
    QueuePlace,
    RingBroken,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.drivers.nic.link import Link

LEAST_BUFFER_BYTES = HEADER_BYTES + MAX_FRAME_BYTES


class Rings:
    """One receive queue and several transmit queues, of which there may be none at a time."""

    def __init__(self, memory: memoryview, wires: Wires, link: Link) -> None:
        self._memory = memory
        self.wires = wires
        self._link = link
        link.rings = self
        self._receive: CardQueue | None = None
        self._transmit: list[CardQueue] = []
        self._head = -1
        self._owed = False
        self.on_room: Callable[[], None] | None = None
        """Asked for by a back end that waits for receive buffers: called when net added some."""
        self.broken: str | None = None
        self.breaks = 0
        """How often that happened."""
        self.malformed = 0
        """Frames of net's that were too short to be any."""

    @property
    def transmit_queues(self) -> int:
        """How many transmit queues are attached."""
        return len(self._transmit)

    def attach(self, receive: QueuePlace, transmit: Sequence[QueuePlace]) -> None:
        """Use these queues in place of any others. RingBroken: they cannot be."""
        self.detach()
        made: list[CardQueue] = []
        try:
            for number, place in enumerate((receive, *transmit)):
                made.append(CardQueue(self._memory, place, writable=number == RECEIVE))
        except RingBroken:
            for queue in made:
                queue.release()
            raise
        self._receive, self._transmit, self.broken = made[0], made[1:], None
        self.wires.acknowledge()
        self._room()

    def detach(self) -> None:
        """Touch the queues no more."""
        for queue in (self._receive, *self._transmit):
            if queue is not None:
                queue.release()
        self._receive, self._transmit, self._head = None, [], -1
        self._owed = False
        self._link.forget()

    def _break(self, error: RingBroken) -> None:
        self.broken = str(error)
        self.breaks += 1
        self.detach()

    # from net

    def doorbell(self, number: int) -> None:
        """Net has published to a queue; a number that is none is ignored, as by hardware."""
        if number == RECEIVE:
            self._room()
        elif 0 < number <= len(self._transmit):
            self._drain(self._transmit[number - 1])
            self._link.settle()
        self.flush()

    def _room(self) -> None:
        waiting, self.on_room = self.on_room, None
        if waiting is not None:
            waiting()

    def _drain(self, queue: CardQueue) -> None:
        memory, transmit = self._memory, self._link.transmit
        try:
            while (taken := queue.take()) is not None:
                head, extents = taken
                frame = [memory[paddr : paddr + length] for paddr, length in extents]
                if len(frame[0]) < HEADER_BYTES:
                    self.malformed += 1
                elif not transmit(frame):
                    queue.untake()
                    return
                queue.give_back(head)
                self._owed |= queue.interrupt_wanted
        except RingBroken as error:
            self._break(error)

    def resume(self) -> None:
        """The link takes frames again."""
        for queue in self._transmit:
            self._drain(queue)
        self._link.settle()
        self.flush()

    # from the link

    def reserve(self) -> list[memoryview] | None:
        """Views of the next receive buffer, or None."""
        queue = self._receive
        if queue is None:
            return None
        try:
            taken = queue.take()
        except RingBroken as error:
            self._break(error)
            return None
        if taken is None:
            return None
        self._head, extents = taken
        memory = self._memory
        views = [memory[paddr : paddr + length] for paddr, length in extents]
        if sum(map(len, views)) < LEAST_BUFFER_BYTES or len(views[0]) < HEADER_BYTES:
            self._break(RingBroken(f"a receive buffer of {[len(view) for view in views]} bytes"))
            return None
        return views

    def commit(self, length_bytes: int) -> None:
        """The reserved buffer is full so far."""
        queue = self._receive
        assert queue is not None, "nothing is attached"
        queue.give_back(self._head, length_bytes)
        self._owed |= queue.interrupt_wanted

    def flush(self) -> None:
        """Interrupt net if it was given anything that it wants to hear of."""
        if self._owed:
            self._owed = False
            self.wires.fire()
