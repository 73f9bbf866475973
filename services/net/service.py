"""net on the bus: handlers that never wait, the network's timers, and the card's interrupts.

Each handler sets the time, does its work on the pure `Network`, and lets loopback settle and the
card send. Two tasks run beside: one sleeps until the next deadline, one drains the card's rings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from bus.errors import MalformedRequest
from services.drivers.clock.api import MONOTONIC, REALTIME, Now, Sleep
from services.drivers.entropy.api import Draw
from services.drivers.nic.api import Describe
from services.net import api, configure, costs, report, settings
from services.net.card import CardEnd, runs_of
from services.net.check import check
from services.net.randomness import RandomStream
from services.net.socket.network import Network
from services.vm.api import PAGE_BYTES, AllocFrames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bus.core import Port
    from services.drivers.nic.api import Wires
    from services.drivers.ram.api import Ram
    from services.net.socket.base import NetSocket

KEY_BYTES = 32
FRAMES_AT_ONCE = 64
"""How many frames are received before others get a turn (NAPI's budget)."""
NOW = Now(MONOTONIC)
"""Sent over and over; nobody changes it."""


class NetService:
    """Sockets, and the network under them; `board` and `wires` are shared by reference."""

    def __init__(
        self,
        ram: Ram,
        board: api.Board,
        wires: Wires,
        *,
        vm: Port,
        clock: Port,
        entropy: Port,
        nic: Port,
        kept: tuple[Network, CardEnd] | None = None,
    ) -> None:
        costs.measure()
        self._kept = kept
        self._ram, self.board, self._wires = ram, board, wires
        self._vm, self._clock, self._entropy, self._nic = vm, clock, entropy, nic
        self.network: Network
        self.card: CardEnd
        self._armed_ns: int | None = None
        self._alarm = trio.Event()
        self._sleeping: trio.CancelScope | None = None
        self._interrupted = trio.Event()
        self._rounds = 0
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.Open: self.open,
            api.Close: self.close_socket,
            api.Bind: self.bind,
            api.Listen: self.listen,
            api.Connect: self.connect,
            api.Accept: self.accept,
            api.Write: self.write,
            api.Read: self.read,
            api.Send: self.send,
            api.Receive: self.receive,
            api.Shutdown: self.shutdown,
            api.Name: self.name,
            api.GetOption: self.get_option,
            api.SetOption: self.set_option,
            api.Queued: self.queued,
            api.Configure: self.configure,
            api.Report: self.report,
            api.Setting: self.setting,
            api.ChangeSetting: self.change_setting,
            api.Count: self.count,
            api.Evict: self.evict,
        }

    # Life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take memory for the board and the card's rings; bring the interfaces up.

        Or take up what an earlier incarnation has left. KernelBug: it does not hold.
        """
        if self._kept is not None:
            self.network, self.card = self._kept
            check(self.network)
            self.network.now_ns = await self._clock.call(NOW)
            self._wires.interrupt = self._interrupt
            self._interrupt()  # one may have been lost
            self._after()
            return
        key = await self._entropy.call(Draw(KEY_BYTES))
        frames = await self._vm.call(AllocFrames(api.BOARD_BYTES // PAGE_BYTES, True))
        paddr, length = runs_of(frames)[0]
        if length == api.BOARD_BYTES:
            self.board.place(self._ram.bytes[paddr : paddr + length])
        self.network = Network(self.board, self._ram.bytes, RandomStream(key))
        self.network.now_ns = await self._clock.call(NOW)
        realtime_ns = await self._clock.call(Now(REALTIME))
        self.network.realtime_offset_ns = realtime_ns - self.network.now_ns
        self.card = CardEnd(self._ram, self.network, self._wires)
        card = await self._nic.call(Describe())
        self._wires.interrupt = self._interrupt
        if card.present:
            await self.card.attach(self._vm, self._nic, card)
        self._after()

    def keep(self) -> tuple[Network, CardEnd]:
        """Sockets, connections, the stack's tables, and the rings in RAM."""
        return self.network, self.card

    async def ping(self) -> None:
        """The tasks move: the one of the card's interrupts goes round once."""
        rounds = self._rounds
        self._interrupt()
        while self._rounds == rounds:
            await trio.lowlevel.checkpoint()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Timers and interrupts, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._serve_interrupts)
            task_status.started()

    async def _keep_time(self) -> None:
        """Call the network when its next deadline has come."""
        while True:
            deadline = self.network.next_deadline_ns
            self._armed_ns = deadline
            if deadline is None:
                self._alarm = trio.Event()
                await self._alarm.wait()
                continue
            with trio.CancelScope() as self._sleeping:
                await self._clock.call(Sleep(deadline))
            self._sleeping = None
            self.network.now_ns = now_ns = await self._clock.call(NOW)
            due = self.network.next_deadline_ns
            if due is not None and due <= now_ns:
                self.network.run_timers()
                self.card.flush()
                await trio.lowlevel.checkpoint()

    def _after(self) -> None:
        """What every entry ends with: loopback settles, the card sends, the alarm is set."""
        network = self.network
        network.settle()
        self.card.flush()
        deadline = network.next_deadline_ns
        if deadline is not None and (self._armed_ns is None or deadline < self._armed_ns):
            self._armed_ns = deadline
            self._alarm.set()
            if self._sleeping is not None:
                self._sleeping.cancel()

    def _interrupt(self) -> None:
        self._interrupted.set()

    async def _serve_interrupts(self) -> None:
        while True:
            await self._interrupted.wait()
            self._interrupted = trio.Event()
            more = True
            while more:
                self._rounds += 1
                self.network.now_ns = await self._clock.call(NOW)
                more = self.card.drain(FRAMES_AT_ONCE)
                self._after()
                await trio.lowlevel.checkpoint()
                if not more:
                    self._wires.acknowledge()
                    more = self.card.drain(FRAMES_AT_ONCE)
                    self._after()

    # Handlers -------------------------------------------------------------------------------

    def _socket(self, handle: int) -> NetSocket:
        socket = self.network.sockets.get(handle)
        if socket is None:
            raise MalformedRequest(f"socket {handle} is not open")
        return socket

    async def open(self, call: api.Open) -> api.Opened:
        """Open."""
        socket = self.network.open(
            call.family,
            call.type,
            call.protocol,
            call.inode,
            call.uid,
            call.privileged,
            call.pid,
        )
        return api.Opened(socket.handle, socket.slot, socket.protocol)

    async def close_socket(self, call: api.Close) -> bool:
        """Close."""
        self.network.now_ns = await self._clock.call(NOW)
        lingers = self.network.close(self._socket(call.socket), call.wait)
        self._after()
        return lingers

    async def evict(self, call: api.Evict) -> tuple[tuple[str, int], ...]:
        """Evict."""
        stack, waits = self.network.stack, self.network.tcp.time_waits
        return (
            ("neighbours", stack.neighbours.shrink()),
            ("paths", stack.router.shrink()),
            ("TIME_WAIT", waits.shrink()),
        )

    async def bind(self, call: api.Bind) -> None:
        """Bind."""
        self.network.now_ns = await self._clock.call(NOW)
        self._socket(call.socket).bind(call.name, call.privileged)

    async def listen(self, call: api.Listen) -> None:
        """Listen."""
        self.network.now_ns = await self._clock.call(NOW)
        self._socket(call.socket).listen(call.backlog)

    async def connect(self, call: api.Connect) -> None:
        """Connect: over loopback it may be done by the time this is answered."""
        self.network.now_ns = await self._clock.call(NOW)
        socket = self._socket(call.socket)
        try:
            socket.connect(call.name)
        finally:
            self._after()

    async def accept(self, call: api.Accept) -> api.Accepted:
        """Accept."""
        self.network.now_ns = await self._clock.call(NOW)
        child = self._socket(call.socket).accept(call.inode, call.uid)
        self.network.admit(child)
        return api.Accepted(api.Opened(child.handle, child.slot, child.protocol), child.peer_name)

    async def write(self, call: api.Write) -> int:
        """Write."""
        self.network.now_ns = await self._clock.call(NOW)
        try:
            return self.network.sockets[call.socket].write(call.extents)
        finally:
            self._after()

    async def read(self, call: api.Read) -> int:
        """Read."""
        self.network.now_ns = await self._clock.call(NOW)
        try:
            return self.network.sockets[call.socket].read(call.extents)
        finally:
            self._after()

    async def send(self, call: api.Send) -> int:
        """Send."""
        self.network.now_ns = await self._clock.call(NOW)
        try:
            socket = self._socket(call.socket)
            return socket.send(call.extents, call.flags, call.name, call.control)
        finally:
            self._after()

    async def receive(self, call: api.Receive) -> api.Received:
        """Receive."""
        self.network.now_ns = await self._clock.call(NOW)
        try:
            return self._socket(call.socket).receive(call.extents, call.flags)
        finally:
            self._after()

    async def shutdown(self, call: api.Shutdown) -> None:
        """Shutdown."""
        self.network.now_ns = await self._clock.call(NOW)
        self._socket(call.socket).shutdown(call.how + 1)
        self._after()

    async def name(self, call: api.Name) -> bytes:
        """Name."""
        return self._socket(call.socket).name(call.peer)

    async def get_option(self, call: api.GetOption) -> bytes:
        """GetOption."""
        self.network.now_ns = await self._clock.call(NOW)
        socket = self._socket(call.socket)
        return socket.get_option(call.level, call.option, call.given)[: call.room]

    async def set_option(self, call: api.SetOption) -> None:
        """SetOption."""
        self.network.now_ns = await self._clock.call(NOW)
        socket = self._socket(call.socket)
        socket.set_option(call.level, call.option, call.value, call.privileged)
        socket.charge_options()
        self._after()

    async def queued(self, call: api.Queued) -> api.Amounts:
        """Queued."""
        return self._socket(call.socket).amounts()

    async def configure(self, call: api.Configure) -> bytes:
        """Configure."""
        self.network.now_ns = await self._clock.call(NOW)
        try:
            return configure.answer(self.network, call.command, call.argument, call.privileged)
        finally:
            self._after()

    async def report(self, call: api.Report) -> bytes:
        """Report."""
        self.network.now_ns = await self._clock.call(NOW)
        return report.text(self.network, call.name)

    async def setting(self, call: api.Setting) -> bytes:
        """Setting."""
        return settings.read(self.network, call.name)

    async def change_setting(self, call: api.ChangeSetting) -> None:
        """ChangeSetting."""
        settings.write(self.network, call.name, call.value)

    async def count(self, call: api.Count) -> api.Totals:
        """Count."""
        network = self.network
        counts = {**network.tcp.counters, **network.stack.udp.as_dict()}
        counters = tuple(sorted(counts.items()))
        return api.Totals(len(network.sockets), len(network.tcp.connections), counters)
