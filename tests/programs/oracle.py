"""Run one command on the host and on Hardtack, and compare: the host is the oracle.

Both runs see the same scratch directory at the same path, the same environment and the same
standard input. Hardtack runs first: what it writes stays in its memory, so the host finds the
directory as it was made, and `Comparison.leaks` names whatever did not stay there.

By hand:

    python -m tests.programs.oracle NAME...          compare, and show what differs
    python -m tests.programs.oracle --list           the names
    python -m tests.programs.oracle --twice [NAME...] is the oracle itself repeatable?
    python -m tests.programs.oracle --trace NAME     with every system call on stderr
    python -m tests.programs.oracle --all -j 2       everything, one line each
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from tests.programs.command import COMMON, Command
from tests.programs.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
OPTIONS = shlex.split(os.environ.get("HARDTACK_OPTIONS", ""))
"""Further options of `hardtack run`, such as faults, for every command."""
HARDTACK = (sys.executable, "-m", "boot", "run", *OPTIONS)
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
LIMIT_S = 120.0
FIXED_TIME_S = 981173106  # 2001-02-03T04:05:06Z
SHOWN_LINES = 60
GRACE_S = 5.0
ALONE = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""In a network namespace of its own."""


@attrs.frozen
class Outcome:
    """How a program ended: its status as a shell gives it (128 + n for signal n)."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False


@attrs.frozen
class Comparison:
    """Both outcomes of one command. `leaks` are paths that changed on the host."""

    command: Command
    host: Outcome
    hardtack: Outcome
    leaks: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Nothing differs, nothing leaked, neither ran out of time."""
        return not self.leaks and not differences(self.host, self.hardtack)

    def report(self) -> str:
        """What differs, for a person."""
        lines = [f"{self.command.name}: {printable(self.command)}"]
        lines += [f"changed on the host: {path}" for path in self.leaks]
        lines += differences(self.host, self.hardtack)
        return "\n".join(lines)


def printable(command: Command) -> str:
    """The command line as one would type it."""
    return (
        subprocess.list2cmdline(command.argv) if len(command.argv) < 3 else " ".join(command.argv)
    )


def _text_lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "backslashreplace").splitlines()


def _stream_difference(name: str, host: bytes, hardtack: bytes) -> Iterator[str]:
    if host == hardtack:
        return
    lines = list(
        difflib.unified_diff(
            _text_lines(host),
            _text_lines(hardtack),
            f"{name} on host",
            f"{name} on hardtack",
            "",
            "",
            2,
            "",
        )
    )
    yield from lines[:SHOWN_LINES] or [f"{name}: only the end of the last line differs"]
    if len(lines) > SHOWN_LINES:
        yield f"... {len(lines) - SHOWN_LINES} more lines"


def differences(host: Outcome, hardtack: Outcome) -> list[str]:
    """Lines that say how two outcomes differ; none when they do not."""
    lines = [
        f"{name}: no end after {outcome.seconds:.0f} s"
        for name, outcome in (("host", host), ("hardtack", hardtack))
        if outcome.timed_out
    ]
    if host.status != hardtack.status:
        lines.append(f"status: {host.status} on host, {hardtack.status} on hardtack")
    lines += _stream_difference("stdout", host.stdout, hardtack.stdout)
    lines += _stream_difference("stderr", host.stderr, hardtack.stderr)
    return lines


def missing_needs(needs: Iterable[str]) -> list[str]:
    """The programs that this machine does not have."""
    return [need for need in needs if shutil.which(need, path=SEARCH_PATH) is None]


def unmet(command: Command) -> list[str]:
    """What a command needs and this machine does not have: programs, a network namespace."""
    missing = missing_needs(command.needs)
    if command.alone and not can_be_alone():
        missing.append("a network namespace")
    return missing


def environment(scratch: Path) -> dict[str, str]:
    """The whole environment of a command."""
    return {"LC_ALL": "C", "PATH": SEARCH_PATH, "HOME": str(scratch), "TZ": "UTC"}


def populate(scratch: Path, files: Mapping[str, bytes]) -> None:
    """Make the files, all with one old time stamp."""
    for name, content in files.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
        os.utime(path, (FIXED_TIME_S, FIXED_TIME_S))


@contextlib.contextmanager
def scratch_directory(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A fresh directory with the common files and these, removed afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="hardtack-"))
    try:
        populate(scratch, {**COMMON, **files})
        yield scratch
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(scratch)], check=False, capture_output=True)
        shutil.rmtree(scratch, ignore_errors=True)


def snapshot(scratch: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time and content of everything under a directory."""
    found = {}
    for path in sorted(scratch.rglob("*")):
        facts = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(scratch))] = (facts.st_mode, facts.st_mtime_ns, content)
    return found


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _default_signals() -> None:
    """What nohup(1) and shells' background jobs ignore, commands of ours do not."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def execute(
    argv: Sequence[str], stdin: bytes, cwd: Path, env: Mapping[str, str], limit_s: float = LIMIT_S
) -> Outcome:
    """Run to the end, or until the limit, then kill what is left of its process group."""
    start = time.monotonic()
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=env,
        start_new_session=True,
        preexec_fn=_default_signals,
    ) as process:
        timed_out = False
        try:
            out, err = process.communicate(stdin or None, limit_s)
        except subprocess.TimeoutExpired:
            timed_out = True
            _end_group(process)
            try:
                out, err = process.communicate(timeout=GRACE_S)
            except subprocess.TimeoutExpired as unread:  # somebody left the group with our pipes
                out, err = unread.stdout or b"", unread.stderr or b""
        finally:
            _end_group(process)
    status = process.returncode
    status = 128 - status if status < 0 else status
    return Outcome(status, out, err, time.monotonic() - start, timed_out)


def on_host(command: Command, scratch: Path, limit_s: float = LIMIT_S) -> Outcome:
    """The command, by the kernel of this machine."""
    argv = (*ALONE, *command.argv) if command.alone else command.argv
    return execute(argv, command.stdin, scratch, environment(scratch), limit_s)


@functools.cache
def can_be_alone() -> bool:
    """Whether this machine lets us have a network namespace."""
    try:
        return not subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode
    except OSError:
        return False


def hardtack_argv(command: Command, scratch: Path, options: Sequence[str] = ()) -> list[str]:
    """The command line that boots Hardtack for this command."""
    settings = [f"-e{key}={value}" for key, value in environment(scratch).items()]
    return [*HARDTACK, *settings, "-w", str(scratch), *options, "--", *command.argv]


def on_hardtack(
    command: Command, scratch: Path, limit_s: float = LIMIT_S, options: Sequence[str] = ()
) -> Outcome:
    """The command, by a kernel booted for it, which ends even if nobody is left to end it."""
    guard = ["timeout", "-s", "KILL", str(limit_s + GRACE_S)] if shutil.which("timeout") else []
    options = [*options, "--net", "none"] if command.alone else options
    argv = [*guard, *hardtack_argv(command, scratch, options)]
    return execute(argv, command.stdin, REPOSITORY, os.environ, limit_s)


def compare(command: Command, limit_s: float = LIMIT_S) -> Comparison:
    """Run on Hardtack, see that nothing leaked, run on the host."""
    with scratch_directory(command.files) as scratch:
        before = snapshot(scratch)
        hardtack = on_hardtack(command, scratch, limit_s)
        after = snapshot(scratch)
        leaks = [
            path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
        ]
        if leaks:
            shutil.rmtree(scratch)
            scratch.mkdir()
            populate(scratch, {**COMMON, **command.files})
        host = on_host(command, scratch, limit_s)
    return Comparison(command, host, hardtack, tuple(sorted(leaks)))


def repeat_on_host(command: Command) -> list[str]:
    """What differs between two runs of the oracle; nothing, if it is one."""
    with scratch_directory(command.files) as scratch:
        first = on_host(command, scratch)
        subprocess.run(["chmod", "-R", "u+rwX", str(scratch)], check=False, capture_output=True)
        shutil.rmtree(scratch)
        scratch.mkdir()
        populate(scratch, {**COMMON, **command.files})
        second = on_host(command, scratch)
    return differences(first, second)


def _say(line: str) -> None:
    print(line, flush=True)


def _compare_and_say(command: Command) -> bool:
    if absent := unmet(command):
        _say(f"skip {command.name}: no {', '.join(absent)}")
        return True
    result = compare(command)
    times = f"{result.host.seconds:.2f} s, {result.hardtack.seconds:.2f} s"
    _say(f"ok   {command.name} ({times})" if result.same else f"FAIL {result.report()}\n({times})")
    return result.same


def _repeat_and_say(command: Command) -> bool:
    if absent := unmet(command):
        _say(f"skip {command.name}: no {', '.join(absent)}")
        return True
    lines = repeat_on_host(command)
    if lines:
        _say("\n".join([f"VARIES {command.name}", *lines]))
    return not lines


def _trace_and_say(command: Command) -> bool:
    with scratch_directory(command.files) as scratch:
        outcome = on_hardtack(command, scratch, options=["--trace"])
    sys.stdout.buffer.write(outcome.stdout)
    sys.stderr.buffer.write(outcome.stderr)
    _say(f"status {outcome.status}")
    return not outcome.timed_out


def main(words: Sequence[str]) -> int:
    """The command line above; 0 when all is as it should be."""
    parser = argparse.ArgumentParser(prog="oracle", description="Compare host and Hardtack.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="names of all commands")
    parser.add_argument("--all", action="store_true", help="every command")
    parser.add_argument("--twice", action="store_true", help="host against itself")
    parser.add_argument("--trace", action="store_true", help="show system calls")
    parser.add_argument("-j", type=int, default=1, metavar="N", help="commands at a time")
    options = parser.parse_args(words)
    if options.list:
        _say("\n".join(COMMANDS))
        return 0
    names = options.names or (list(COMMANDS) if options.all or options.twice else [])
    unknown = [name for name in names if name not in COMMANDS]
    if unknown or not names:
        parser.error(f"no command {unknown[0]!r}; --list shows them" if unknown else "which?")
    act: Callable[[Command], bool] = _compare_and_say
    act = _repeat_and_say if options.twice else _trace_and_say if options.trace else act
    with ThreadPoolExecutor(options.j) as pool:
        results = list(pool.map(act, (COMMANDS[name] for name in names)))
    _say(f"{sum(results)} of {len(results)} as they should be")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
