"""Real programs on a recorded disk: what they told somebody is done must be there afterwards.

A kernel is booted with the recorder as its disk, mounted at /mnt. Whenever the program prints
`ack N`, what it promises up to N counts as promised. Then each state (or every so many of them) is
recovered, what it holds is copied out, and the program's own tools on this host judge it.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from boot import assembly
from boot.config import Config, Image
from boot.image import mkfs
from boot.kernel import run_kernel
from services.drivers.console.api import WriteStream
from tests.crash.recorder import Recorder
from tests.crash.states import crash_states
from tests.fs.ext4.mounted import Mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from boot.assembly import Machine
    from boot.supervisor import Service
    from tests.crash.states import State

IMAGE_BYTES = 16 << 20
ENVIRONMENT = (("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp"), ("LC_ALL", "C"))


@attrs.frozen
class Program:
    """A shell script that prints `ack N`, and who judges what is left of its files."""

    name: str
    needs: tuple[str, ...]
    script: str
    judge: Callable[[Path, int], str | None]
    """(a copy of /mnt, promised) -> what is wrong."""


def record(script: str) -> tuple[bytes, Recorder]:
    """Run it; the image before, and the disk with its log."""
    image = bytearray(IMAGE_BYTES)
    for offset, content in mkfs.file_system(IMAGE_BYTES, bytes(range(16)), 1_700_000_000):
        image[offset : offset + len(content)] = content
    disk = Recorder(bytes(image))
    base = disk.record()

    def fs(machine: Machine) -> Service:
        before, assembly.disk_of = assembly.disk_of, lambda _: disk  # type: ignore[assignment]
        try:
            return assembly.build_fs(machine)
        finally:
            assembly.disk_of = before

    def console(machine: Machine) -> Service:
        service = assembly.build_console(machine)

        async def write(request: WriteStream) -> int:
            for number in re.findall(rb"ack (\d+)", request.data):
                disk.returned(int(number), int(number))
            return len(request.data)

        service.handlers[WriteStream] = write  # type: ignore[index]
        return service

    builders = {
        **assembly.BUILDERS, "fs": fs, "console": console,
        "disk": lambda _: assembly.Hardware(lambda: None),
    }  # fmt: skip
    config = Config(
        argv=("/bin/sh", "-c", script), env=ENVIRONMENT, image=Image("recorder", "/mnt")
    )
    status = trio.run(lambda: run_kernel(config, builders=builders))
    assert status == 0, f"the program ended with {status}"
    disk.recording = False
    return base, disk


def copied(mounted: Mounted, place: Path) -> None:
    """Everything that is on a volume, on the host."""
    for path, (kind, content, _) in mounted.tree().items():
        target = place / path.lstrip("/")
        if kind == "d":
            target.mkdir()
        elif kind == "l":
            target.symlink_to(os.fsdecode(content))
        else:
            target.write_bytes(content)


def judged(program: Program, base: bytes, state: State) -> str | None:
    """What is wrong with one state."""
    mounted = Mounted(Recorder(state.image(base)))
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        copied(mounted, Path(folder))
        wrong = program.judge(Path(folder), state.persisted)
    return None if wrong is None else f"{state.how} after event {state.at}: {wrong}"


def run(program: Program, most: int, seed: int = 0) -> tuple[int, int, list[str]]:
    """(states, the last promise, what was wrong) of up to `most` states, spread over all."""
    base, disk = record(program.script)
    promised = max((one.persisted for one in _returned(disk)), default=0)
    states = list(crash_states(disk.log, seed, 1))
    step = max(len(states) // most, 1)
    chosen = list(itertools.islice(states[::-1], 0, None, step))[:most]
    wrong = [said for state in chosen if (said := judged(program, base, state)) is not None]
    return len(chosen), promised, wrong


def _returned(disk: Recorder) -> Iterator[State]:
    return (one for one in disk.log if hasattr(one, "persisted"))  # type: ignore[misc]


# Judges


def judge_sqlite(place: Path, promised: int) -> str | None:
    """Whole, and all rows up to the promised are there (`extra`: with `full` the last may go)."""
    if not (place / "db").exists():
        return None if not promised else "there is no database"
    with sqlite3.connect(place / "db") as database:
        try:
            (verdict,) = database.execute("pragma integrity_check").fetchone()
            numbers = [n for (n,) in database.execute("select n from t order by n")]
        except sqlite3.DatabaseError as error:
            return None if not promised and "no such table" in str(error) else str(error)
    if verdict != "ok":
        return f"integrity_check: {verdict}"
    good = numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= promised
    return None if good else f"rows {numbers} of {promised}"


def judge_redis(place: Path, promised: int) -> str | None:
    """The log of commands has all up to the promised, whole but for its end."""
    folder = place / "appendonlydir"
    logs = sorted(folder.glob("*.incr.aof")) if folder.is_dir() else []
    content = b"".join(log.read_bytes() for log in logs)
    found = content.count(b"$4\r\nincr\r\n$1\r\nn\r\n") + content.count(
        b"$4\r\nINCR\r\n$1\r\nn\r\n"
    )
    if found < promised:
        return f"{found} commands of {promised}"
    if promised and not (folder / "appendonly.aof.manifest").exists():
        return "the manifest is lost"
    return None


def judge_git(place: Path, promised: int) -> str | None:
    """git fsck finds nothing, and all promised commits are there."""
    if not (place / "repo" / ".git" / "HEAD").exists():
        return None if not promised else "there is no repository"
    words = ["git", "-c", "safe.directory=*", "-C", str(place / "repo")]
    listed = subprocess.run(
        [*words, "rev-list", "--count", "HEAD"], capture_output=True, check=False
    )
    count = int(listed.stdout) if not listed.returncode else 0
    if count < promised:
        return f"{count} commits of {promised}: {listed.stderr!r}"
    if not promised:
        return None
    checked = subprocess.run([*words, "fsck", "--full"], capture_output=True, check=False)
    return None if not checked.returncode else f"git fsck: {checked.stderr!r}"


def judge_tar(place: Path, promised: int) -> str | None:
    """All files that were unpacked before the sync."""
    if not promised:
        return None
    for number in range(40):
        path = place / "tree" / f"folder{number % 5}" / f"file{number}"
        if not path.exists() or path.read_bytes() != b"%d\n" % number * 300:
            return f"{path.name} is not what it was"
    return None


def _sqlite(mode: str) -> str:
    rows = "".join(
        f"insert into t values({n}, randomblob(900)); select 'ack {n}';\n" for n in range(1, 9)
    )
    return (
        f"sqlite3 /mnt/db <<'END'\npragma journal_mode={mode};\npragma synchronous=extra;\n"
        f"create table t(n integer primary key, content blob);\n{rows}END\n"
    )


PROGRAMS = (
    Program("sqlite, rollback journal", ("sqlite3",), _sqlite("delete"), judge_sqlite),
    Program("sqlite, write-ahead log", ("sqlite3",), _sqlite("wal"), judge_sqlite),
    Program(
        "redis, appendfsync always",
        ("redis-server", "redis-cli"),
        "redis-server --dir /mnt --appendonly yes --appendfsync always --save '' --port 0"
        " --unixsocket /tmp/redis.sock --daemonize no >/dev/null &\n"
        "until redis-cli -s /tmp/redis.sock ping 2>/dev/null | grep -q PONG; do sleep 0.1; done\n"
        "for n in 1 2 3 4 5 6 7 8; do echo ack $(redis-cli -s /tmp/redis.sock incr n); done\n"
        "redis-cli -s /tmp/redis.sock shutdown nosave; wait; true",
        judge_redis,
    ),
    Program(
        "git, then sync",
        ("git",),
        "cd /mnt; export GIT_CONFIG_GLOBAL=/dev/null; git init -q repo; cd repo;"
        " git config core.fsync all; git config core.fsyncMethod fsync;"
        " git config user.name n; git config user.email e; git config gc.auto 0;"
        " for n in 1 2; do echo $n > file$n; git add .; git commit -q -m $n; sync;"
        " echo ack $n; done",
        judge_git,
    ),
    Program(
        "tar, then sync",
        ("tar",),
        "mkdir -p /tmp/tree; cd /tmp/tree; for n in $(seq 0 39); do mkdir -p folder$((n%5));"
        " for i in $(seq 300); do echo $n; done > folder$((n%5))/file$n; done; cd /tmp;"
        " tar cf t.tar tree; tar xf t.tar -C /mnt; sync; echo ack 1; rm -r /mnt/tree/folder9; true",
        judge_tar,
    ),
)


def missing(program: Program) -> list[str]:
    """What this host does not have of what it needs."""
    return [one for one in program.needs if shutil.which(one) is None]
