"""Run a workload on a recorded disk, recover every state, and judge it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Protocol

import attrs

from tests.crash.recorder import Recorder
from tests.crash.states import crash_states
from tests.crash.workload import PERSISTING, SETUP, perform, trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash.states import State
    from tests.crash.workload import Tree, Volume, Workload


class Kind(Protocol):
    """How volumes of one kind of file system are made."""

    def make(self) -> bytes:
        """An empty image."""

    def mount(self, device: Recorder) -> Volume:
        """Recover and mount; whatever it raises is an image that was refused."""


@attrs.define
class Tally:
    """Workloads, persistence points and states, and what was wrong."""

    workloads: int = 0
    points: int = 0
    states: int = 0
    refused: list[str] = attrs.field(factory=list)
    broken: list[str] = attrs.field(factory=list)
    checked: int = 0
    """States that e2fsck saw."""

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return not self.refused and not self.broken

    def __str__(self) -> str:
        return (
            f"{self.workloads} workloads, {self.points} persistence points,"
            f" {self.states} states ({self.checked} by e2fsck):"
            f" {len(self.refused)} images refused, {len(self.broken)} promises broken"
        )


def record(kind: Kind, workload: Workload) -> tuple[bytes, Recorder]:
    """Do it; the image before, and the disk with its log."""
    disk = Recorder(kind.make())
    volume = kind.mount(disk)
    for op in SETUP:
        perform(volume, op)
    base, persisted = disk.record(), 0
    for done, op in enumerate(workload, 1):
        perform(volume, op)
        if op.kind in PERSISTING:
            persisted = done
        disk.returned(done, persisted)
    disk.recording = False
    return base, disk


def judge(found: Tree, state: State, expected: Sequence[Tree]) -> str | None:
    """What is wrong with what was recovered."""
    last = min(state.done + 1, len(expected) - 1)
    if any(found == expected[at] for at in range(state.persisted, last + 1)):
        return None
    wanted = expected[state.persisted]
    lost = sorted(wanted.keys() - found.keys())
    more = sorted(found.keys() - wanted.keys())
    other = sorted(path for path in wanted.keys() & found.keys() if wanted[path] != found[path])
    return f"lost {lost}, more {more}, other {other} than after operation {state.persisted}"


def run(kind: Kind, workload: Workload, tally: Tally, seed: int = 0, by_chance: int = 8) -> None:
    """All states of one workload."""
    base, disk = record(kind, workload)
    expected = trees(workload)
    tally.workloads += 1
    tally.points += sum(op.kind in PERSISTING for op in workload)
    title = " ".join(map(str, workload))
    for state in crash_states(disk.log, seed, by_chance):
        tally.states += 1
        where = f"{title}: {state.how} after event {state.at}"
        try:
            found = kind.mount(Recorder(state.image(base))).tree()
        except Exception as refusal:
            tally.refused.append(f"{where}: {refusal!r}")
            continue
        wrong = judge(found, state, expected)
        if wrong is not None:
            tally.broken.append(f"{where}: {wrong}")


def e2fsck(image: bytes) -> tuple[bytes, str | None]:
    """What e2fsck makes of an image by itself, and its complaint if more than replay was needed."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.NamedTemporaryFile(dir=place, suffix=".ext4") as file:
        file.write(image)
        file.flush()
        preened = subprocess.run(["e2fsck", "-fp", file.name], capture_output=True, check=False)
        checked = subprocess.run(["e2fsck", "-fn", file.name], capture_output=True, check=False)
        complaint = None
        if preened.returncode not in (0, 1) or checked.returncode:
            complaint = (preened.stdout + checked.stdout).decode(errors="replace")
        file.seek(0)
        return file.read(), complaint
