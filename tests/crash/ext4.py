"""ext4 under the judge: our own recovery on every state, e2fsck's beside it on some.

python -m tests.crash.ext4 STATES      the long run: sweeps of one and two, then by chance
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from services.fs.ext4.checksum import MASK, crc32c
from tests.crash.recorder import Recorder
from tests.crash.states import crash_states
from tests.crash.verdict import Tally, e2fsck, judge, record
from tests.crash.workload import drawn, sweep, trees
from tests.fs.ext4.mounted import Mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.workload import Workload

FEATURES = {
    "checksums": (),
    "none": ("-O", "^metadata_csum,^64bit"),
    "lists": ("-O", "^extent,^64bit,^metadata_csum"),
}


@attrs.frozen
class Habit:
    """How a volume behaves between what a program asks of it."""

    commits: bool = False
    """After every operation, as if the time for it had come."""
    checkpoints: bool = False
    """After every commit."""
    barriers: bool = True
    """False: a file system that believes the disk to be in order. It must be found out."""


class Restless(Mounted):
    """A volume with a habit."""

    habit = Habit()

    def sync(self) -> None:
        """sync(2), and what follows."""
        super().sync()
        if self.habit.checkpoints:
            self.direct.checkpoint()


def _changing(name: str) -> Callable[..., None]:
    plain = getattr(Mounted, name)

    def change(self: Restless, *args: object) -> None:
        plain(self, *args)
        if self.habit.commits:
            self.sync()

    return change


for _name in ("mkdir", "create", "unlink", "rmdir", "rename", "link", "symlink", "write"):
    setattr(Restless, _name, _changing(_name))


class Ext4:
    """Small volumes of mke2fs, mounted with a habit."""

    def __init__(self, features: str = "checksums", habit: Habit = Habit()) -> None:
        self.habit = habit
        with tempfile.NamedTemporaryFile(suffix=".ext4") as file:
            subprocess.run(
                ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-J", "size=1", "-N", "64",
                 *FEATURES[features], file.name, "3M"],
                check=True, capture_output=True,
            )  # fmt: skip
            self._image = Path(file.name).read_bytes()

    def make(self) -> bytes:
        """An empty volume."""
        return self._image

    def mount(self, device: Recorder) -> Restless:
        """Recovered and mounted."""
        mounted = Restless(device)
        mounted.habit = self.habit
        mounted.held = self.habit.commits
        if mounted.direct.session.journal is not None:
            mounted.direct.session.journal.barriers = self.habit.barriers
        return mounted


def run(kind: Ext4, workload: Workload, tally: Tally, seed: int = 0, check_every: int = 0) -> None:
    """All states of one workload; e2fsck sees every so many of them, and must see the same."""
    base, disk = record(kind, workload)
    expected = trees(workload)
    tally.workloads += 1
    tally.points += 1
    title = " ".join(map(str, workload))
    for state in crash_states(disk.log, seed, 8):
        tally.states += 1
        where = f"{title}: {state.how} after event {state.at}"
        image = state.image(base)
        try:
            found = kind.mount(Recorder(image)).tree()
        except Exception as refusal:
            tally.refused.append(f"{where}: {refusal!r}")
            continue
        wrong = judge(found, state, expected)
        if wrong is None and check_every and tally.states % check_every == 0:
            wrong = _second_opinion(kind, image, found, tally)
        if wrong is not None:
            tally.broken.append(f"{where}: {wrong}")


def _has_torn_super(image: bytes) -> bool:
    """e2fsck looks for a copy then, and small volumes have none; we take it from the journal."""
    raw = image[1024:2048]
    return crc32c(MASK, raw[:0x3FC]) != int.from_bytes(raw[0x3FC:], "little")


def _second_opinion(kind: Ext4, image: bytes, found: object, tally: Tally) -> str | None:
    """What e2fsck makes of the image, and of what we have made of it."""
    tally.checked += 1
    theirs, complaint = e2fsck(image)
    if complaint is not None and not _has_torn_super(image):
        return f"e2fsck on the state: {complaint}"
    if complaint is None and kind.mount(Recorder(theirs)).tree() != found:
        return "e2fsck recovers another tree"
    ours = Recorder(image)
    kind.mount(ours).unmount()
    complaint = e2fsck(ours.content())[1]
    return None if complaint is None else f"e2fsck on what we recovered: {complaint}"


HABITS = (Habit(), Habit(commits=True), Habit(commits=True, checkpoints=True))


def endless() -> Iterator[tuple[Ext4, Workload]]:
    """All workloads of one and two operations in each kind of volume, then longer ones."""
    kinds = [Ext4(features, habit) for habit in HABITS for features in FEATURES]
    for length in (1, 2):
        for workload in sweep(length):
            yield from ((kind, workload) for kind in kinds)
    for seed in itertools.count():
        for workload in drawn(3 + seed % 4, 10, seed):
            yield kinds[seed % len(kinds)], workload


def main(states: int, share: tuple[int, int]) -> Tally:
    """Run until so many states were seen; `share` is (this one, of how many)."""
    tally, began, told = Tally(), time.monotonic(), 0.0
    for number, (kind, workload) in enumerate(endless()):
        if number % share[1] != share[0]:
            continue
        run(kind, workload, tally, number, check_every=50)
        if not tally.good or tally.states >= states:
            break
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"{told - began:.0f} s: {tally}", flush=True)
    print(f"{time.monotonic() - began:.0f} s: {tally}")
    for line in (tally.refused + tally.broken)[:5]:
        print(line)
    return tally


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    part = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 3 else (0, 1)
    sys.exit(not main(wanted, part).good)
