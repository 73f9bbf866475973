"""Do random operations end on Hardtack as they end on Linux, errnos and all?

The same operations run in a directory of the host (in a process that has made it its root, as
different users) and on a tmpfs, on a memory overlay over a host tree, and on a read-write bind.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.fs.service import MountSpec
from tests.fs.machine import Machine
from tests.fs.pair import Guest, Oracle, Pair

NAMES = (b"a", b"b", b"c", b"dir", b"link")
PARTS = (*NAMES, *NAMES, b".", b"..", b"x" * 256, b"y" * 255)

parts = st.sampled_from(PARTS)
paths = st.builds(
    lambda start, middle, end: start + b"/".join(middle) + end,
    st.sampled_from((b"", b"", b"/", b"//", b"./")),
    st.lists(parts, min_size=0, max_size=4).filter(lambda p: len(p) < 4 or b"." not in p),
    st.sampled_from((b"", b"", b"", b"/", b"/.")),
)
targets = st.one_of(paths.filter(bool), st.just(b"/dir/a"), st.just(b"../link"), st.just(b"link"))
creds = st.sampled_from((0, 0, 1, 2))
slots = st.integers(0, 2)
file_modes = st.sampled_from((0o644, 0o600, 0o755, 0o444, 0, 0o6755, 0o2745))
dir_modes = st.sampled_from((0o755, 0o777, 0o700, 0o1775, 0o2777, 0o1770, 0o555))
flags = st.builds(
    lambda how, more: how | sum(set(more)),
    st.sampled_from((os.O_RDONLY, os.O_WRONLY, os.O_RDWR)),
    st.lists(
        st.sampled_from(
            (os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_DIRECTORY, os.O_NOFOLLOW, 0o10000000)
        ),
        max_size=3,
    ),
).filter(lambda f: not (f & os.O_CREAT and f & os.O_DIRECTORY))
offsets = st.sampled_from((0, 1, 100, 4095, 4096, 4097, 8192, 12_000, 20_000, 70_000))
lengths = st.sampled_from((0, 1, 5, 4095, 4096, 4097, 9000, 20_000))
blobs = st.builds(
    lambda n, seed: bytes((i * seed) & 255 for i in range(n)), lengths, st.integers(1, 250)
)

operations = st.one_of(
    st.tuples(st.just("mkdir"), creds, paths, dir_modes),
    st.tuples(st.just("mkdir"), creds, paths, dir_modes),
    st.tuples(
        st.just("mknod"),
        creds,
        paths,
        st.sampled_from((stat.S_IFREG, stat.S_IFIFO)).map(lambda k: k | 0o644),
    ),
    st.tuples(st.just("symlink"), creds, targets, paths),
    st.tuples(st.just("link"), st.just(0), paths, paths),
    st.tuples(st.just("unlink"), creds, paths),
    st.tuples(st.just("rmdir"), creds, paths),
    st.tuples(st.just("rename"), creds, paths, paths, st.sampled_from((0, 0, 0, 1, 2, 3, 8))),
    st.tuples(st.just("rename"), st.just(0), paths, paths, st.just(0)),
    st.tuples(st.just("stat"), creds, paths, st.booleans()),
    st.tuples(st.just("readlink"), creds, paths),
    st.tuples(st.just("access"), creds, paths, st.integers(0, 7)),
    st.tuples(st.just("chmod"), creds, paths, st.one_of(file_modes, dir_modes)),
    st.tuples(
        st.just("chown"),
        creds,
        paths,
        st.sampled_from((0, 1000, 1001)),
        st.sampled_from((0, 50, 1000)),
        st.booleans(),
    ),
    st.tuples(st.just("utime"), creds, paths, st.integers(0, 10**18), st.integers(0, 10**18)),
    st.tuples(st.just("touch"), creds, paths),
    st.tuples(st.just("list"), creds, paths),
    st.tuples(st.just("chdir"), creds, paths),
    st.tuples(st.just("open"), creds, slots, paths, flags, file_modes),
    st.tuples(st.just("open"), creds, slots, paths, st.just(os.O_CREAT | os.O_RDWR), file_modes),
    st.tuples(st.just("close"), st.just(0), slots),
    st.tuples(st.just("write"), creds, slots, offsets, blobs),
    st.tuples(st.just("append"), creds, slots, blobs),
    st.tuples(st.just("read"), creds, slots, offsets, lengths),
    st.tuples(st.just("ftruncate"), creds, slots, offsets),
    st.tuples(
        st.just("fallocate"), creds, slots, st.sampled_from((0, 1, 3, 16, 17)), offsets, lengths
    ),
    st.tuples(st.just("fstat"), st.just(0), slots),
)


def plausible(operation: tuple[Any, ...], open_slots: dict[int, int]) -> bool:
    """Whether both sides can be asked: descriptors and their modes are proc's affair."""
    name = operation[0]
    if name in ("close", "fstat"):
        return operation[2] in open_slots
    if name in ("write", "append", "ftruncate", "fallocate"):
        return open_slots.get(operation[2], 0) & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR) and (
            operation[2] in open_slots
        )
    if name == "read":
        return open_slots.get(operation[2], os.O_WRONLY) & os.O_ACCMODE != os.O_WRONLY
    return True


async def play(pair: Pair, script: list[tuple[Any, ...]]) -> None:
    open_slots: dict[int, int] = {}
    for operation in script:
        name, cred, *words = operation
        if not plausible(operation, open_slots):
            continue
        if name == "open" and words[2] & 0o10000000:
            words[0] = -1
        if name == "close":
            del open_slots[words[0]]
        outcome = await pair.do(name, cred, *words)
        if name == "open" and outcome[0] == "ok" and words[0] not in open_slots and words[0] >= 0:
            mode = outcome[1][0]
            if stat.S_ISREG(mode):
                open_slots[words[0]] = words[2]
            else:
                await pair.do("close", 0, words[0])
    await pair.compare_trees()


def fresh() -> Path:
    return Path(tempfile.mkdtemp(prefix="fs-oracle-"))


def populate(directory: Path) -> None:
    """The lower layer: some of everything."""
    (directory / "dir").mkdir()
    (directory / "dir/a").write_bytes(bytes(range(256)) * 40)
    (directory / "dir/b").mkdir(mode=0o777)
    (directory / "dir/b/c").write_bytes(b"deep")
    (directory / "a").write_bytes(b"x" * 5000)
    os.link(directory / "a", directory / "b")
    os.link(directory / "a", directory / "dir/c")
    os.symlink("dir", directory / "link")
    os.symlink("/dir/b/../a", directory / "dir/link")
    for path in (directory, directory / "dir", directory / "dir/b"):
        path.chmod(0o777)


async def run_script(kind: str, script: list[tuple[Any, ...]]) -> None:
    oracle_dir, lower = fresh(), fresh()
    lower.chmod(0o755)
    oracle_dir.chmod(0o755)
    root = MountSpec(b"/")
    if kind != "tmpfs":
        populate(oracle_dir)
        populate(lower)
        options = "rw" if kind == "bind" else ""
        root = MountSpec(b"/", "hosttree", os.fsencode(lower), options)
    before = listing(lower)
    oracle = Oracle(oracle_dir)
    try:
        if not oracle.able:
            pytest.skip("needs the right to chroot(2)")
        machine = await Machine(root).start()
        if len(script) % 2:
            machine.tree.names_limit = 4  # what can be forgotten is, all the time
        guest = Guest(machine)
        pair = Pair(oracle, guest)
        await play(pair, script)
        await guest.release_all()
        await machine.assert_no_leak()
        if kind == "overlay":
            assert listing(lower) == before
        machine.host.close()
    finally:
        oracle.close()
        shutil.rmtree(oracle_dir)
        shutil.rmtree(lower)


def listing(directory: Path) -> list[Any]:
    found: list[Any] = []
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found.append((path, status.st_mode, status.st_nlink, status.st_mtime_ns, content))
    return found


ONCE_WRONG: tuple[tuple[tuple[Any, ...], ...], ...] = (
    (("mknod", 0, b"s", stat.S_IFSOCK | 0o644), ("open", 1, 0, b"s", 2, 0)),
    (("open", 0, 1, b"new", 66, 0o2745), ("ftruncate", 1, 1, 1)),
    (("open", 0, 2, b"new", 65, 0o2745), ("fallocate", 2, 2, 0, 4095, 20_000)),
    (("chmod", 0, b"a", 0o2777), ("open", 1, 1, b"/a", os.O_TRUNC, 0)),
    (("rmdir", 1, b"dir"), ("chdir", 0, b"/link/."), ("rename", 2, b"link", b"/./link", 0)),
    (
        ("link", 0, b"/dir/a", b"dir/dir"),
        ("open", 0, 1, b"dir/a", 578, 0o444),
        ("rename", 0, b"b", b"//dir/dir/a", 0),
        ("read", 2, 1, 8192, 5),
    ),
    (
        ("mkdir", 0, b"dir/new", 0o755),
        ("chdir", 0, b"dir/new"),
        ("rmdir", 0, b"../new"),
        ("stat", 0, b"..", True),
        ("stat", 0, b"../new", True),
    ),
)


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "bind"])
@pytest.mark.parametrize("script", ONCE_WRONG)
async def test_what_was_wrong_once(kind: str, script: tuple[tuple[Any, ...], ...]) -> None:
    await run_script(kind, list(script))


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "bind"])
@settings(
    max_examples=int(os.environ.get("FS_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(script=st.lists(operations, max_size=60))
def test_random_operations_end_as_on_linux(kind: str, script: list[tuple[Any, ...]]) -> None:
    trio.run(run_script, kind, script)
