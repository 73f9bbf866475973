"""Do whole lines, and the pieces of interrupted ones, read as strace writes them?

The expected lines were written by strace 6.1; the memory is built by hand.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from services.proc import strace
from services.proc.strace import Ctx, parse_set, render_entry, render_exit, render_line, six

from .oracle import ARENA, STRACE, Arena, class_of_strace, known_calls, needs_strace

if TYPE_CHECKING:
    from pathlib import Path

PATH, DATA = ARENA, ARENA + 64
AT_FDCWD = (1 << 64) - 100
WORD = (1 << 64) - 1


def _arena(data: bytes = b"") -> Arena:
    arena = Arena()
    arena.put(b"/etc/ld.so.cache\0".ljust(64, b"\0") + data)
    return arena


LINES = [
    ("openat", (AT_FDCWD, PATH, 0o2000000), 3,
     'openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3'),
    ("openat", (AT_FDCWD, PATH, 0), -2,
     'openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY) = -1 ENOENT (No such file or directory)'),
    ("brk", (0,), 0x55D5256EF000, "brk(NULL)                               = 0x55d5256ef000"),
    ("close", (3,), 0, "close(3)                                = 0"),
    ("exit_group", (0,), None, "exit_group(0)                           = ?"),
    ("mmap", (0, 8192, 3, 0x22, (1 << 64) - 1, 0), 0x7F5B7FF82000,
     "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f5b7ff82000"),
    ("read", (0, DATA, 10), -512,
     f"{'read(0, 0x10000040, 10)':39} = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"),
    ("getpid", (), -516, f"{'getpid()':39} = ? ERESTART_RESTARTBLOCK (Interrupted by signal)"),
    ("getpid", (), -600, f"{'getpid()':39} = -1 (errno 600)"),
    ("umask", (0o22,), 0o22, f"{'umask(022)':39} = 022"),
    ("fcntl", (3, 3), 0o102002,
     f"{'fcntl(3, F_GETFL)':39} = 0x8402 (flags O_RDWR|O_APPEND|O_LARGEFILE)"),
    ("syscall_0x3e7", (1, 2, 3, 4, 5, 6), -38,
     "syscall_0x3e7(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "words", "result", "line"), LINES)
def test_lines_without_an_oracle(
    name: str, words: tuple[int, ...], result: int | None, line: str
) -> None:
    args = six(words)
    assert render_line(name, args, result, Ctx(memory=_arena(), args=args)) == line


def test_the_two_parts_of_a_line() -> None:
    arena, args = _arena(b"hello"), six((3, DATA, 100))
    ctx = Ctx(memory=arena, args=args)
    entry = render_entry("read", args, ctx)
    assert entry == "read(3, "
    assert strace.unfinished(entry) == "read(3,  <unfinished ...>"
    assert render_exit("read", args, ctx.at_exit(5)) == '"hello", 100) = 5'
    assert (
        strace.resumed("read", args, ctx.at_exit(0))
        == '<... read resumed>"", 100)              = 0'
    )
    assert strace.abandoned("read", args, ctx) == "read(3,  <unfinished ...>)              = ?"


def test_process_numbers_count_for_alignment() -> None:
    args = six((3,))
    prefix = strace.file_prefix(42)
    assert prefix == "42    "
    assert strace.pid_prefix(42) == "[pid    42] "
    line = prefix + render_line("close", args, 0, Ctx(args=args), before=len(prefix))
    assert line.index(" = ") == 39


def test_what_entry_saw_is_remembered() -> None:
    peer = struct.pack("<HH4s8x", 2, 0x5000, b"\x7f\0\0\1") + struct.pack("<i", 128)
    before, after = _arena(peer), _arena(peer[:16] + struct.pack("<i", 16))
    args = six((3, DATA, DATA + 16))
    ctx = Ctx(memory=before, args=args)
    assert render_entry("accept", args, ctx) == "accept(3, "
    later = Ctx(memory=after, args=args, saved=ctx.saved).at_exit(4)
    shown = '{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, [128 => 16]'
    assert render_exit("accept", args, later) == f"{shown}) = 4"


def test_descriptors_can_show_their_paths() -> None:
    args = six((AT_FDCWD, 0, 0))
    ctx = Ctx(args=args, path_of={3: "/tmp/x", -100: "/home"}.get)
    assert render_line("openat", args, 3, ctx).startswith("openat(AT_FDCWD</home>, NULL, O_RDONLY)")
    assert render_entry("close", six((3,)), ctx) == "close(3</tmp/x>"


def test_longer_strings_on_request() -> None:
    args = six((1, DATA, 40))
    ctx = Ctx(memory=_arena(b"a" * 40), args=args, string_limit=100)
    assert render_entry("write", args, ctx) == f'write(1, "{"a" * 40}", 40'


def test_the_mask_that_a_signal_handler_returns_to() -> None:
    frame = bytes(296) + struct.pack("<Q", 1 << 16)
    ctx = Ctx(memory=_arena(frame), stack_pointer=DATA)
    assert render_entry("rt_sigreturn", ctx.args, ctx) == "rt_sigreturn({mask=[CHLD]}"


SIGNALS = [
    (17, 1, struct.pack("<iIi4xqq", 12, 0, 0, 0, 0),
     "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=12, si_uid=0, si_status=0, "
     "si_utime=0, si_stime=0} ---"),
    (11, 1, struct.pack("<Q", 0),
     "--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---"),
    (2, 128, b"", "--- SIGINT {si_signo=SIGINT, si_code=SI_KERNEL} ---"),
    (10, 0, struct.pack("<iI", 5, 6),
     "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=5, si_uid=6} ---"),
]  # fmt: skip


@pytest.mark.parametrize(("signo", "code", "fields", "line"), SIGNALS)
def test_signals(signo: int, code: int, fields: bytes, line: str) -> None:
    assert strace.signal_line(signo, code, 0, fields) == line


def test_ends_of_processes() -> None:
    assert strace.exit_line(0) == "+++ exited with 0 +++"
    assert strace.exit_line(0x700) == "+++ exited with 7 +++"
    assert strace.exit_line(11) == "+++ killed by SIGSEGV +++"
    assert strace.exit_line(0x8B) == "+++ killed by SIGSEGV (core dumped) +++"
    assert strace.stopped_line(19) == "--- stopped by SIGSTOP ---"
    assert strace.superseded_line(7) == "+++ superseded by execve in pid 7 +++"
    assert strace.unknown_name(511) == "syscall_0x1ff"


@needs_strace
def test_a_real_program_with_a_child_and_a_signal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "(exit 3) & wait $!; kill -USR1 $$"
    subprocess.run([str(STRACE), "-f", "-o", str(log), "sh", "-c", script], check=False)
    text = log.read_text()
    parent = text.split()[0]
    prefix = strace.file_prefix(int(parent))
    assert f"{prefix}{strace.exit_line(10)}\n" in text
    info = re.search(r"si_code=SI_USER, si_pid=(\d+), si_uid=(\d+)", text)
    assert info is not None
    fields = struct.pack("<iI", *map(int, info.groups()))
    assert f"{prefix}{strace.signal_line(10, 0, 0, fields)}\n" in text
    arena, args = _arena(struct.pack("<I", 0x300)), six((WORD, DATA, 0, 0))
    ctx = Ctx(memory=arena, args=args)
    for line in text.splitlines():
        name, _, rest = line.removeprefix(prefix).partition("(")
        if line.startswith(prefix) and name == "wait4" and "unfinished" in rest:
            assert line == prefix + strace.unfinished(render_entry("wait4", args, ctx))
        child = re.search(r"<\.\.\. wait4 resumed>\[.*== 3.*= (\d+)$", line)
        if child is not None:
            ended = ctx.at_exit(int(child[1]))
            assert line == prefix + strace.resumed("wait4", args, ended, len(prefix))


def test_sets_of_calls() -> None:
    wanted = parse_set("openat,read,%file,%process,!write")
    assert [wanted(name) for name in ("openat", "stat", "kill", "write", "mmap")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert [parse_set("!read,%desc")(name) for name in ("read", "close", "kill")] == [0, 0, 1]
    assert [parse_set("%desc,!write")(name) for name in ("read", "write")] == [True, False]
    assert [parse_set("/^rt_sig")(name) for name in ("rt_sigaction", "read")] == [True, False]
    assert [parse_set("all")("anything"), parse_set("none")("read")] == [True, False]
    assert [parse_set("?nosuch,read")("read"), parse_set("mine", {"mine"})("mine")] == [True, True]
    assert parse_set("%network")("socket")
    assert parse_set("%memory")("brk")
    assert parse_set("%signal,%ipc")("shmget")


@pytest.mark.parametrize("text", ["nosuch", "%nosuch", "", "read,,write"])
def test_sets_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="invalid system call"):
        parse_set(text)


@needs_strace
@pytest.mark.parametrize("name", ["file", "process", "network", "signal", "ipc", "desc", "memory"])
def test_classes_are_those_of_strace(name: str) -> None:
    assert class_of_strace(name) == [call for call in known_calls() if parse_set(f"%{name}")(call)]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_raises_on_nonsense(seed: int) -> None:
    chance = random.Random(seed)
    arena = Arena()
    arena.put(chance.randbytes(2000) + bytes(96) + struct.pack("<200Q", *range(200)))
    for name in [*strace.SIGNATURES, "nosuch"]:
        kinds = [ARENA + chance.randrange(4000), chance.randrange(70), chance.getrandbits(64)]
        args = six(chance.choices(kinds, k=6))
        for result in (None, 0, 17, chance.getrandbits(40), -14, -512):
            line = render_line(name, args, result, Ctx(memory=arena, args=args))
            assert line.startswith(f"{name}(")
