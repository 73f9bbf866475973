"""How fast Hardtack's TCP is against Linux's over a link, and how fast Linux's own is in its place.

All flows of one measurement cross the same wire. Over one that is slow and lossy they run at once:
the link bounds each by itself, and the machine's mood is the same for all. Over a clean one they
take turns, for there the processor is the bound. Both senders use CUBIC.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from tests.interop import lab as labs

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

PROGRAM = str(Path(__file__).with_name("transfer.py"))
FIRST_PORT = 7001


@attrs.frozen
class Flow:
    """A transfer between the near end, "guest" or "linux", and Linux at the wire's other end."""

    near: str
    sends: bool
    serves: bool
    """Whether the near end sends, and whether it is the one that listens."""

    @property
    def kind(self) -> str:
        """What guest and Linux are compared in."""
        return f"{'sends' if self.sends else 'receives'} as {'server' if self.serves else 'client'}"


@attrs.frozen
class Outcome:
    """What became of a flow, as Linux at the far end saw it."""

    flow: Flow
    received_bytes: int
    intact: bool
    """All has arrived, with the digest that it was sent with."""
    seconds: float

    @property
    def mbit_s(self) -> float:
        """Goodput."""
        return self.received_bytes * 8 / 1e6 / self.seconds


def flows(near: Sequence[str] = ("linux", "guest")) -> list[Flow]:
    """Both directions, both roles."""
    return [Flow(n, sends, serves) for n in near for sends in (True, False) for serves in (0, 1)]


class _Running:
    """A flow under way. `guest` is where a near end "guest" runs."""

    def __init__(
        self, wire: labs.Wire, guest: labs.Guest, flow: Flow, port: int, size: int
    ) -> None:
        self.flow, self._guest, self._wire, self._port = flow, guest, wire, port
        near_address = labs.GUEST4 if flow.near == "guest" else labs.BESIDE4
        address = near_address if flow.serves else labs.OUTSIDE4
        roles = ("serve", "connect") if flow.serves else ("connect", "serve")
        tasks = ("send", "receive") if flow.sends else ("receive", "send")
        near, far = (
            ["python3", PROGRAM, role, address, str(port), task, str(size), "cubic"]
            for role, task in zip(roles, tasks, strict=True)
        )
        self._near: subprocess.Popen[str] | None = None
        if flow.near == "guest":
            guest.run(f"{' '.join(near)} >/tmp/{port} 2>&1 &")
        else:
            self._near = wire.beside.start(*near, errors=True)
        self._far = wire.outside.start(*far, errors=True)

    def wait(self, timeout_s: float) -> Outcome:
        """Both ends have come to an end. AssertionError if either failed."""
        ours = _told(self._far, timeout_s)
        if self._near is not None:
            theirs = _told(self._near, 60)
        else:
            while not (said := self._guest.run(f"cat /tmp/{self._port}")).endswith("}\n"):
                assert "Error" not in said, said
            theirs = json.loads(said)
        intact = ours["same"] and theirs["same"] and ours["sha256"] == theirs["sha256"]
        return Outcome(self.flow, int(ours["bytes"]), bool(intact), float(ours["seconds"]))


def _told(process: subprocess.Popen[str], timeout_s: float) -> dict[str, object]:
    said, _ = process.communicate(timeout=timeout_s)
    assert said.startswith("{"), f"{process.args}: {said}"
    told: dict[str, object] = json.loads(said)
    return told


def measure(
    impairment: labs.Impairment,
    size: int,
    directory: Path,
    *,
    at_once: bool,
    which: Sequence[Flow] | None = None,
    options: Sequence[str] = (),
    watch: Callable[[labs.Wire], AbstractContextManager[object]] = nullcontext,
    timeout_s: float = 600,
) -> tuple[list[Outcome], list[dict[str, int]]]:
    """Send `size` bytes through each flow; what became of them, and of the wire's frames."""
    with labs.Lab() as lab:
        wire = labs.Wire(lab, impairment)
        where, net = wire.inside, wire.net()
        with watch(wire), labs.Guest(where, net, *options, cwd=directory) as guest:
            running, outcomes = [], []
            for number, flow in enumerate(flows() if which is None else which):
                running.append(_Running(wire, guest, flow, FIRST_PORT + number, size))
                if not at_once:
                    outcomes.append(running.pop().wait(timeout_s))
            outcomes += [one.wait(timeout_s) for one in running]
        return outcomes, labs.relay_counts(wire.relay)


def ratios(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The guest's goodput to Linux's, by kind of flow."""
    speeds = {(one.flow.near, one.flow.kind): one.mbit_s for one in outcomes}
    return {
        kind: speed / speeds["linux", kind]
        for (near, kind), speed in speeds.items()
        if near == "guest" and ("linux", kind) in speeds
    }
