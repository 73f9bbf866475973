"""Do the commands do to a running kernel what they say?"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from boot.control.grammar import split_exec
from tests.boot.control.kernels import hardtack, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDLE = ("/bin/sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.2; done")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A kernel that runs a shell and waits."""
    path = tmp_path_factory.mktemp("control") / "c"
    with running(path, *IDLE):
        yield path


def test_ps_lists_the_processes(kernel: Path) -> None:
    rows = json.loads(hardtack(kernel, "ps", "--json").stdout)
    shell = next(row for row in rows if row["pid"] == 2)
    assert (shell["parent"], shell["name"], shell["descriptors"]) == (1, "sh", 3)
    lines = hardtack(kernel, "ps").stdout.splitlines()
    assert lines[0].split() == ["PID", "PPID", "UID", "S", "THR", "FDS", "TIME", "CALL", "NAME"]
    assert len(lines) >= 3


def test_exec_runs_a_program_with_our_streams_and_status(kernel: Path) -> None:
    done = hardtack(
        kernel, "exec", "-e", "A=b", "-w", "/tmp", "--", "/bin/sh", "-c",
        'cat; echo "$A $PWD" >&2; exit 7', text="in\n",
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("in\n", "b /tmp\n", 7)


def test_exec_tells_what_cannot_be_run(kernel: Path) -> None:
    done = hardtack(kernel, "exec", "/no/such/program")
    assert done.returncode == 2
    assert done.stderr == "hardtack: error: exec: ENOENT (No such file or directory)\n"


def test_exec_leaves_nothing_behind(kernel: Path) -> None:
    before = len(json.loads(hardtack(kernel, "ps", "--json").stdout))
    for _ in range(3):
        assert hardtack(kernel, "exec", "/bin/true").returncode == 0
    after = json.loads(hardtack(kernel, "ps", "--json").stdout)
    assert len(after) <= before + 1, after  # the shell's sleep comes and goes


def test_exec_moves_much_data(kernel: Path) -> None:
    text = "0123456789" * 50_000
    assert hardtack(kernel, "exec", "/bin/cat", text=text).stdout == text


def _until(fd: int, pattern: str, patience_s: float = 30.0) -> str:
    seen, deadline = "", time.monotonic() + patience_s
    while not re.search(pattern, seen):
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, seen
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        assert data, seen
        seen += data.decode()
    return seen


def test_exec_has_a_terminal_with_a_size_job_control_and_ctrl_c(kernel: Path) -> None:
    child, fd = pty.fork()
    if not child:
        os.execv(
            sys.executable,
            [sys.executable, "-m", "boot", "exec", "--control", str(kernel), "--", "/bin/sh", "-i"],
        )
    subprocess.run(["stty", "rows", "33", "cols", "77"], stdin=fd, check=True)
    os.write(fd, b"tty; stty size; echo $((40 + 2))\n")
    seen = _until(fd, r"\b42\b")
    assert "/dev/pts/0" in seen
    assert re.search(r"(33 77|0 0|24 80)", seen)
    os.write(fd, b"sleep 100\n")
    time.sleep(1.0)
    os.write(fd, b"\x03")
    os.write(fd, b"echo st$?\n")
    assert "st130" in _until(fd, r"st\d+\r")
    os.write(fd, b"exit 9\n")
    _, status = os.waitpid(child, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 9
    rows = json.loads(hardtack(kernel, "ps", "--json").stdout)
    assert [row["name"] for row in rows].count("sh") == 1


def test_a_client_that_goes_hangs_its_program_up(kernel: Path) -> None:
    command = [sys.executable, "-m", "boot", "exec", "--control", str(kernel)]
    child = subprocess.Popen(
        [*command, "--", "/bin/sleep", "1000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 30

    def sleeping() -> bool:
        rows = json.loads(hardtack(kernel, "ps", "--json").stdout)
        return any(row["name"] == "sleep" and row["parent"] == 1 for row in rows)

    while not sleeping():
        assert time.monotonic() < deadline
    child.kill()
    child.communicate()
    while sleeping():
        assert time.monotonic() < deadline


def test_kill_ends_a_program_with_the_kernels_own_authority(kernel: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "boot", "exec", "--control", str(kernel), "/bin/sleep", "999"]
    )
    deadline, pid = time.monotonic() + 30, 0
    while not pid:
        rows = json.loads(hardtack(kernel, "ps", "--json").stdout)
        pid = next((r["pid"] for r in rows if r["name"] == "sleep" and r["parent"] == 1), 0)
        assert time.monotonic() < deadline
    assert hardtack(kernel, "kill", "-s", "KILL", str(pid)).returncode == 0
    assert child.wait(30) == 137


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("kill", "4242"), "there is no process 4242"),
        (("kill", "-s", "NONSENSE", "2"), "signal 'NONSENSE' is none"),
        (("fault", "add", "fs:dance"), "dance"),
        (("fault", "add", "nobody:crash"), "nobody"),
        (("fault", "clear", "77"), "fault 77 is not armed"),
        (("trace", "on", "no_such_call"), "no_such_call"),
        (("trace", "on", "--file", "/no/such/folder/t"), "No such file or directory"),
        (("exec",), "no program to run"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    kernel: Path, words: tuple[str, ...], reason: str
) -> None:
    ours = [words[0], *words[1:]]
    command = [sys.executable, "-m", "boot"]
    if words[0] == "fault":
        command += [*ours[:2], "--control", str(kernel), *ours[2:]]
    else:
        command += [ours[0], "--control", str(kernel), *ours[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("hardtack: error: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_trace_goes_on_and_off(kernel: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    assert hardtack(kernel, "trace", "on", "execve", "--file", str(file)).returncode == 0
    hardtack(kernel, "exec", "/bin/sh", "-c", "/bin/true; :")
    assert hardtack(kernel, "trace", "off").returncode == 0
    traced = file.read_text()
    assert 'execve("/bin/true"' in traced
    hardtack(kernel, "exec", "/bin/sh", "-c", "/bin/true; :")
    assert file.read_text() == traced


def test_heap_stats_dump_and_top_tell_something(kernel: Path) -> None:
    assert "lastgc" in hardtack(kernel, "heap", "--once").stdout
    for what in ("--collect", "--empty"):
        assert re.fullmatch(r"[\d,]+ bytes live\n", hardtack(kernel, "heap", what).stdout)
    assert re.search(r"[\d,]+ system calls in", hardtack(kernel, "stats").stdout)
    assert "the kernel's loop answers in" in hardtack(kernel, "dump").stdout
    assert "processes" in hardtack(kernel, "top", "--once").stdout


def test_exec_words_are_split_where_the_program_begins() -> None:
    assert split_exec(["exec", "-e", "A=b", "-t", "ls", "-l"]) == (
        ["exec", "-e", "A=b", "-t"],
        ("ls", "-l"),
    )
    assert split_exec(["exec", "--user=1", "--", "-x"]) == (["exec", "--user=1"], ("-x",))


def test_a_kernel_that_ends_says_so_to_who_is_attached(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with running(path, *IDLE):
        child = subprocess.Popen(
            [sys.executable, "-m", "boot", "exec", "--control", str(path), "/bin/sleep", "999"]
        )
        time.sleep(2.0)
        assert hardtack(path, "kill", "2").returncode == 0
        assert child.wait(30) in (2, 137)
