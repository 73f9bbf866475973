"""CUBIC (RFC 9438): the window is a cubic function of the time since the last loss.

Sizes are bytes outside and segments (floats) in the formulas, as in the RFC. The Reno-friendly
estimate of section 4.3 is kept beside it, and the larger of the two counts.
"""

from __future__ import annotations

from services.net.tcp.congestion import Control
from services.net.tcp.limits import SECOND

C = 0.4
BETA = 0.7
ALPHA = 3 * (1 - BETA) / (1 + BETA)
"""Additive increase of the Reno-friendly estimate until it reaches the window before the loss."""


class Cubic(Control):
    """`Control` by RFC 9438."""

    __slots__ = ("_epoch_ns", "_estimate", "_k", "_origin", "_prior", "_w_max")

    name = "cubic"

    def __init__(self, mss: int) -> None:
        super().__init__(mss)
        self._w_max = 0.0  # window before the last loss, perhaps lowered by fast convergence
        self._prior = 0.0  # window at the last loss
        self._epoch_ns = 0  # when congestion avoidance began, 0: not yet
        self._k = 0.0  # seconds until the window is back at `_origin`
        self._origin = 0.0
        self._estimate = 0.0  # W_est, section 4.3

    def on_ack(self, acked: int, now_ns: int, srtt_ns: int) -> None:
        """Sections 4.2 to 4.5."""
        if self.cwnd < self.ssthresh:
            acked = self.slow_start(acked)
            if not acked:
                return
        mss = self.mss
        segments = self.cwnd / mss
        if not self._epoch_ns:
            self._begin(segments, now_ns)
        elapsed = (now_ns - self._epoch_ns + srtt_ns) / SECOND
        target = C * (elapsed - self._k) ** 3 + self._origin
        target = min(max(target, segments), 1.5 * segments)
        alpha = 1.0 if self._estimate >= self._prior else ALPHA
        self._estimate += alpha * (acked / mss) / segments
        if self._estimate > target:
            target = self._estimate
        if target > segments:
            self._acked += acked
            step = int((target - segments) / segments * self._acked)
            if step:
                self.cwnd += step
                self._acked = 0

    def _begin(self, segments: float, now_ns: int) -> None:
        """A new epoch of congestion avoidance; figure 1 and section 4.2."""
        self._epoch_ns = now_ns
        self._estimate = segments
        self._acked = 0
        if segments < self._w_max:
            self._k = ((self._w_max - segments) / C) ** (1 / 3)
            self._origin = self._w_max
        else:
            self._k = 0.0
            self._origin = segments

    def reduced(self, flight: int) -> int:
        """Section 4.6; never below two segments."""
        return max(int(flight * BETA), 2 * self.mss)

    def on_loss(self, flight: int, now_ns: int) -> None:
        """Sections 4.6 and 4.7."""
        self._remember()
        super().on_loss(flight, now_ns)

    def on_timeout(self, flight: int, now_ns: int, first: bool) -> None:
        """Section 4.8."""
        if first:
            self._remember()
        super().on_timeout(flight, now_ns, first)
        self._epoch_ns = 0

    def _remember(self) -> None:
        segments = self.cwnd / self.mss
        self._prior = segments
        if segments < self._w_max:
            self._w_max = segments * (1 + BETA) / 2
        else:
            self._w_max = segments
        self._epoch_ns = 0

    def on_idle(self, timeouts: int) -> None:
        """Time spent idle is not time in which the window might have grown (section 5.8)."""
        super().on_idle(timeouts)
        self._epoch_ns = 0


def make_control(name: str, mss: int) -> Control:
    """A control by its TCP_CONGESTION name; ValueError if there is none."""
    if name == "cubic":
        return Cubic(mss)
    if name == "reno":
        return Control(mss)
    raise ValueError(f"no congestion control is named {name!r}; there are cubic and reno")
