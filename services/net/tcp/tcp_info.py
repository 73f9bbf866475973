"""TCP_INFO (tcp(7), struct tcp_info of linux/tcp.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp.limits import MS, NEVER

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection

_CA_STATES = (0, 3, 4)
"""Linux's TCP_CA_Open, TCP_CA_Recovery, TCP_CA_Loss for our phases."""
_OPTION_STAMPS, _OPTION_SACK, _OPTION_SCALE = 1, 2, 4
_INFINITE = 0x7FFFFFFF


def info(c: Connection) -> dict[str, int]:
    """Times in microseconds except the `last_` ones (milliseconds); windows in segments."""
    now = c.tcp.now_ns
    mss = c.mss
    control = c.control
    board = c.board
    flight = c.snd_nxt - c.snd_una
    in_pipe = board.pipe(c.snd_una, c.snd_nxt)
    return {
        "state": int(c.state),
        "ca_state": _CA_STATES[c.phase],
        "retransmits": c.backoff,
        "probes": c.keep_probes,
        "backoff": c.backoff,
        "options": (_OPTION_STAMPS if c.stamps_on else 0)
        | (_OPTION_SACK if c.sack_on else 0)
        | (_OPTION_SCALE if c.scale_on else 0),
        "snd_wscale": c.snd_scale,
        "rcv_wscale": c.rcv_scale,
        "rto": c.rtt.backed_off(c.backoff) // 1000,
        "ato": 40_000,
        "snd_mss": mss,
        "rcv_mss": c.rcv_mss,
        "unacked": -(-flight // mss),
        "sacked": -(-board.sacked_bytes // mss),
        "lost": -(-max(board.lost_to - c.snd_una - board.sacked_bytes, 0) // mss),
        "retrans": -(-max(in_pipe - flight, 0) // mss),
        "last_data_sent": (now - c.sent_ns) // MS,
        "last_data_recv": (now - c.received_ns) // MS,
        "last_ack_recv": (now - c.heard_ns) // MS,
        "pmtu": c.path.mtu,
        "rcv_ssthresh": c.receive_limit,
        "rtt": c.rtt.srtt // 1000,
        "rttvar": c.rtt.rttvar // 1000,
        "snd_ssthresh": _INFINITE if control.ssthresh == NEVER else control.ssthresh // mss,
        "snd_cwnd": control.cwnd // mss,
        "advmss": c.mss_announced,
        "reordering": board.dup_thresh,
        "rcv_rtt": c.rtt.srtt // 1000,
        "rcv_space": c.receive_limit,
        "total_retrans": c.lifetime_retransmits,
        "bytes_acked": max(c.snd_una - c.iss - 1, 0),
        "bytes_received": max(c.rcv_nxt - c.irs - 1, 0),
        "bytes_sent": max(c.snd_nxt - c.iss - 1, 0) + c.bytes_retransmitted,
        "bytes_retrans": c.bytes_retransmitted,
        "dsack_dups": c.repeated_count,
        "rcv_ooopack": c.out_of_order_count,
        "segs_in": c.segments_in,
        "segs_out": c.segments_out,
        "notsent_bytes": c.unsent_bytes,
        "min_rtt": 0 if c.rtt.least == NEVER else c.rtt.least // 1000,
        "snd_wnd": c.snd_wnd,
        "rcv_wnd": max(c.rcv_adv - c.rcv_nxt, 0),
    }
