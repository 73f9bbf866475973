"""What must hold of a network whenever it is not running, whatever has arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.ip import neighbour, reassembly
from services.net.socket.datagram import UdpSocket
from services.net.socket.inbox import OVERHEAD_BYTES
from services.net.tcp.limits import NEVER
from services.net.tcp.reassembly import MAX_RUNS
from services.net.tcp.scoreboard import MAX_RANGES
from services.net.tcp.state import CLOSE, CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_RECV, TIME_WAIT

if TYPE_CHECKING:
    from services.net.socket.network import Network
    from services.net.tcp.connection import Connection
    from services.net.tcp.table import Tcp


def check(network: Network) -> None:
    """All of it; AssertionError."""
    check_tcp(network.tcp)
    stack = network.stack
    assert len(stack.neighbours) <= neighbour.MAX_NEIGHBOURS
    fragments = stack._input.fragments
    assert len(fragments) <= reassembly.MAX_DATAGRAMS
    assert fragments.held_bytes <= reassembly.MAX_BYTES
    for socket in network.sockets.values():
        assert network.board.ready[socket.slot] == socket.ready(), socket
        if isinstance(socket, UdpSocket):
            waiting = sum(len(item[0]) + OVERHEAD_BYTES for item in socket._inbox._items)
            assert waiting == socket.queued_bytes <= socket.receive_limit_bytes


def check_tcp(tcp: Tcp) -> None:
    """The table as a whole, then each connection."""
    connections = list(tcp.connections.values())
    assert len(connections) <= tcp.limits.max_connections
    orphans = sum(c.orphan for c in connections)
    assert tcp.orphans == orphans <= tcp.limits.max_orphans
    assert tcp.grown_bytes == sum(c.grown_bytes for c in connections)
    assert tcp.grown_bytes <= tcp.limits.grown_max_bytes
    assert tcp.counters["CurrEstab"] == sum(
        c.state is ESTABLISHED or c.state is CLOSE_WAIT for c in connections
    )
    assert len(tcp.timers) <= 2 * len(connections) + 130
    assert len(tcp.time_waits) <= tcp.limits.max_time_waits
    half_open = set()
    for group in tcp.listeners.values():
        for listener in group:
            assert len(listener.half_open) <= min(listener.backlog, tcp.limits.max_syn_backlog)
            assert len(listener.accepted) <= listener.backlog + 1
            half_open |= set(listener.half_open)
    for key, c in tcp.connections.items():
        assert key == c.key
        assert key not in tcp.time_waits.records
        assert (c in half_open) == (c.listener is not None)
        check_connection(c)


def check_connection(c: Connection) -> None:
    """One record: the sequence spaces, the queues, the scoreboard, the deadlines."""
    assert c.state not in (CLOSE, LISTEN, TIME_WAIT)
    if c.state is not SYN_RECV:
        assert c.listener is None
    assert c.snd_una <= c.snd_nxt <= c.send.end + 1
    assert c.send.end - c.send.base <= c.send_limit
    assert c.acked_to <= c.rcv_nxt <= max(c.rcv_adv, c.rcv_nxt * c.fin_received)
    # What a full window brings, and a segment that was let in with the last byte of it.
    assert c.receive.length <= c.receive_limit + 65_535
    pieces = c.receive._pieces
    assert c.receive.length == sum(map(len, pieces)) - c.receive._head
    assert len(pieces) <= 2 + c.receive.length // 512
    _check_runs(c)
    _check_board(c)
    assert c.control.cwnd >= c.control.mss > 0
    assert c.rtt.rto > 0
    for deadline in (c.retransmit_at, c.ack_at, c.keep_at):
        assert deadline == NEVER or deadline >= c.alarm_ns
    if c.snd_nxt > c.snd_una and c.fused is None:
        assert c.retransmit_at != NEVER, "nobody would ever send it again"


def _check_runs(c: Connection) -> None:
    at = c.rcv_nxt
    runs = c.reassembly.runs
    assert len(runs) <= MAX_RUNS
    assert c.reassembly._starts == [run.start for run in runs]
    for run in runs:
        assert at < run.start < run.end
        assert run.queue.length == run.end - run.start
        at = run.end
    assert at <= max(c.rcv_adv, c.rcv_nxt)
    assert set(c.reassembly._recent) <= set(runs)


def _check_board(c: Connection) -> None:
    board = c.board
    at = c.snd_una
    assert len(board.ranges) <= MAX_RANGES
    assert board._starts == [left for left, _ in board.ranges]
    for left, right in board.ranges:
        assert at <= left < right
        at = right
    assert at <= c.snd_nxt
    assert board.sacked_bytes == sum(right - left for left, right in board.ranges)
    assert 0 <= board.pipe(c.snd_una, c.snd_nxt) <= c.snd_nxt - c.snd_una
