"""The back end `user`: gateway, host sockets and time put together, served by two Trio tasks.

One task waits for host sockets, the other for the earliest deadline. The guest's frames come in
by `send`, within net's own call. Every entry does the same: set the time, do the work, let the
connections that changed act (`settle`), and at the very end interrupt net.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import trio

from services.drivers.nic.api import Card, Suggested
from services.drivers.nic.rings import DATA_VALID, HEADER, HEADER_BYTES, NEEDS_CHECKSUM
from services.drivers.nic.user import plan
from services.drivers.nic.user.datagrams import Datagrams
from services.drivers.nic.user.echoes import Echoes
from services.drivers.nic.user.flows import (
    BUDGET_BYTES,
    SPARE_DESCRIPTORS,
    Flows,
    raise_descriptor_limit,
)
from services.drivers.nic.user.gateway import Gateway
from services.drivers.nic.user.hostside import reaches_v6
from services.drivers.nic.user.poller import Poller
from services.drivers.nic.user.publish import Listener, bind_all
from services.drivers.nic.user.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.drivers.nic.card import Rings
    from services.drivers.nic.link import Link
    from services.drivers.nic.settings import Published

SWEEP_NS = 5_000_000_000
"""How often idle UDP mappings are looked for."""


class User:
    """A gateway for one guest. LinkRefused: a published port cannot be had."""

    def __init__(
        self,
        published: Sequence[Published],
        link: Link,
        rings: Rings,
        *,
        resolver: Resolver | None = None,
        random: Callable[[int], bytes] = os.urandom,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._link = link
        self._rings = rings
        self._monotonic_ns = monotonic_ns
        link.sender = self
        bound = bind_all(published)
        resolver = resolver or Resolver()
        self._poller = poller = Poller()
        self.gateway = gateway = Gateway(link.deliver, random)
        gateway.now_ns = monotonic_ns()
        limit = raise_descriptor_limit() - SPARE_DESCRIPTORS
        self.flows = Flows(gateway, poller, resolver, max(limit, 1))
        self.datagrams = Datagrams(gateway, poller, resolver)
        self.echoes = Echoes(gateway, poller, random)
        self.listeners: list[Listener] = []
        self.ports = [host.getsockname()[1] for _, host in bound]
        """The host's ports, in the order in which they were asked for."""
        for one, host in bound:
            if one.udp:
                self.datagrams.publish(host, one.guest_port)
            else:
                listener = Listener(host, one.guest_port, self.flows.accept, poller.again)
                self.listeners.append(listener)
                poller.add(host.fileno(), listener.on_host)
        self._sweep_ns = gateway.now_ns + SWEEP_NS
        self._planned_ns = 0
        self._alarm = trio.CancelScope()
        self.card = Card(
            "user",
            plan.GUEST_MAC,
            plan.MTU,
            offload=True,
            addresses=_addresses(),
            name_servers=(plan.DNS,),
        )

    # from net

    def send(self, frame: list[memoryview]) -> bool:
        """One frame of the guest's."""
        gateway = self.gateway
        gateway.now_ns = self._monotonic_ns()
        whole = frame[0] if len(frame) == 1 else memoryview(b"".join(frame))
        flags = HEADER.unpack_from(whole)[0]
        gateway.input(whole[HEADER_BYTES:], bool(flags & (NEEDS_CHECKSUM | DATA_VALID)))
        return True

    def settle(self) -> None:
        """A batch of frames was sent: let the connections act on it."""
        self.flows.settle()
        if self.gateway.backlog:
            self._rings.on_room = self._drain
        self._plan()

    def _drain(self) -> None:
        """There are receive buffers: emit what waits for them, then let the host go on."""
        if self.gateway.flush_backlog():
            self.flows.resume()
            self.datagrams.resume()
        else:
            self._rings.on_room = self._drain

    # time

    def _plan(self) -> None:
        """See that the timer's task wakes up in time."""
        deadline_ns = self.gateway.tcp.next_deadline_ns
        if deadline_ns is not None and deadline_ns < self._planned_ns:
            self._planned_ns = deadline_ns
            wait_s = max(0, deadline_ns - self.gateway.now_ns) / 1e9
            self._alarm.deadline = trio.current_time() + wait_s

    async def _timers(self) -> None:
        gateway = self.gateway
        while True:
            gateway.now_ns = now_ns = self._monotonic_ns()
            if now_ns >= self._sweep_ns:
                self.datagrams.expire()
                self.echoes.expire()
                self._sweep_ns = now_ns + SWEEP_NS
            gateway.tcp.run_timers()
            self._planned_ns = self._sweep_ns
            self._alarm = trio.CancelScope(
                deadline=trio.current_time() + (self._sweep_ns - now_ns) / 1e9
            )
            self.settle()
            self._link.flush()
            with self._alarm:
                await trio.sleep_forever()

    async def _sockets(self) -> None:
        while True:
            await self._poller.wait()
            self.flows.budget = BUDGET_BYTES
            self.gateway.now_ns = self._monotonic_ns()
            self._poller.dispatch()
            self.settle()
            self._link.flush()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._timers)
            nursery.start_soon(self._sockets)
            task_status.started()

    def counters(self) -> Mapping[str, int]:
        """Connections and mappings, and what led nowhere."""
        gateway, flows = self.gateway, self.flows
        return {
            "dropped_malformed": gateway.malformed,
            "dropped_foreign_source": gateway.refused,
            "dropped_backlog": gateway.dropped,
            "dropped_datagrams": self.datagrams.dropped,
            "flows": len(flows),
            "flows_opened": flows.opened,
            "flows_accepted": flows.accepted,
            "flows_refused": flows.refused,
            "mappings": len(self.datagrams),
        }

    def close(self) -> None:
        """Reset every connection and give every socket back."""
        for listener in self.listeners:
            self._poller.remove(listener.socket.fileno())
            listener.socket.close()
        self.listeners.clear()
        self.flows.close()
        self.datagrams.close()
        self.echoes.close()
        self._poller.close()


def _addresses() -> tuple[Suggested, ...]:
    """IPv6 only where the host has a way out by it: the guest would try it first, in vain."""
    v4 = Suggested(plan.GUEST, plan.PREFIX_BITS, plan.GATEWAY)
    v6 = Suggested(plan.GUEST_V6, plan.PREFIX_BITS_V6, plan.GATEWAY_V6)
    return (v4, v6) if reaches_v6() else (v4,)
