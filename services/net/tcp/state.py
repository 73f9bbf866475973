"""The states of a connection (RFC 9293 3.3.2), numbered as in Linux's TCP_INFO and /proc/net/tcp.

Linux's LISTEN and TIME_WAIT are states of other objects here: `Listener` and `TimeWait`.
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Linux's numbers (include/net/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


ESTABLISHED = State.ESTABLISHED
SYN_SENT = State.SYN_SENT
SYN_RECV = State.SYN_RECV
FIN_WAIT1 = State.FIN_WAIT1
FIN_WAIT2 = State.FIN_WAIT2
TIME_WAIT = State.TIME_WAIT
CLOSE = State.CLOSE
CLOSE_WAIT = State.CLOSE_WAIT
LAST_ACK = State.LAST_ACK
LISTEN = State.LISTEN
CLOSING = State.CLOSING

OPEN, RECOVERY, LOSS = 0, 1, 2
"""Phases of loss recovery: none; after fast retransmit; after a timeout (`recovery`)."""
