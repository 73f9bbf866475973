"""Does `hardtack run` behave as a shell expects of the program it runs?"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import termios
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from boot.heap import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
HARDTACK = [sys.executable, "-m", "boot"]


def hardtack(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*HARDTACK, *words], cwd=ROOT, input=stdin, capture_output=True)


@contextmanager
def start(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A kernel in the background; it is killed at the end if it has not ended."""
    with subprocess.Popen(
        [*HARDTACK, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("script", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("true", 0)]
)
def test_the_status_is_the_programs(script: str, status: int) -> None:
    assert hardtack("run", "--", "/bin/sh", "-c", script).returncode == status


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        ("/no/such/program", 127, "No such file or directory"),
        ("no-such-program", 127, "No such file or directory"),
        ("/etc/hostname", 126, "cannot run"),
        ("/etc", 126, "cannot run"),
    ],
)
def test_what_cannot_be_run_is_told_on_one_line(program: str, status: int, said: str) -> None:
    ran = hardtack("run", "--", program)
    assert ran.returncode == status
    assert said in ran.stderr.decode()
    assert ran.stderr.count(b"\n") == 1


def test_standard_streams_pass_through_whole() -> None:
    data = os.urandom(300_000)
    ran = hardtack("run", "--", "/bin/cat", stdin=data)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, data, b"")


def test_a_reader_that_leaves_ends_the_program_and_not_the_kernel() -> None:
    with start("run", "--", "/bin/sh", "-c", "while :; do echo y || exit 9; done") as child:
        assert child.stdout is not None
        child.stdout.read(10)
        child.stdout.close()
        assert child.wait() in (9, 128 + signal.SIGPIPE)


def test_what_the_program_sees_is_what_was_asked_for(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "note").write_text("bound\n")
    ran = hardtack(
        *("run", "-e", "GREETING=hello", "-w", "/data", "--bind", f"{tmp_path}:/data:rw"),
        *("-u", "12:34", "--"),
        *("/bin/sh", "-c", "pwd; cat note; echo $GREETING $HOME; id -u; id -g"),
    )
    assert ran.stdout.decode().split() == ["/data", "bound", "hello", "/", "12", "34"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_hosts_signals_reach_the_program(number: signal.Signals, status: int) -> None:
    with start("run", "--", "/bin/sh", "-c", "echo up; exec sleep 1000") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.send_signal(number)
        assert child.wait() == status


def test_a_program_that_ignores_ctrl_c_dies_of_the_second() -> None:
    script = "trap 'echo caught' INT; echo up; while :; do read x; done"
    with start("run", "--", "/bin/sh", "-c", script) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() in (b"caught\n", b"")
        child.send_signal(signal.SIGINT)
        assert child.wait() == 137


def test_the_summary_counts_and_does_not_disturb_the_output() -> None:
    ran = hardtack("run", "--stats", "--", "/bin/echo", "hello")
    assert ran.stdout == b"hello\n"
    shown = ran.stderr.decode()
    assert re.search(r"hardtack: \d+ system calls in", shown)
    assert re.search(r"^ +\d+  mmap$", shown, re.MULTILINE)
    assert "proc→vm Fault" in shown
    assert "collector:" in shown


def test_metrics_are_served_while_the_program_runs() -> None:
    with start("run", "--metrics", "127.0.0.1:0", "--", "/bin/cat") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"is it up?\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"is it up?\n"
        port = listening_port(child.pid)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            text = page.read().decode()
        assert re.search(r'hardtack_syscalls_total\{name="read"\} \d', text)
        assert re.search(r'hardtack_frames\{state="used"\} [1-9]', text)
        assert 'hardtack_processes{state="alive"} 2.0' in text
        assert 'hardtack_gc_pause_seconds_bucket{generation="0",le="0.000115"}' in text
        child.stdin.close()
        assert child.wait() == 0


STRUCK = "ls /none; for i in 1 2 3; do echo $i > /mnt/$i; done; sync; echo done; cat"


def test_metrics_tell_what_failed_what_was_mended_and_what_was_written() -> None:
    options = (
        "--image",
        "mem:16M:/mnt",
        "--fault",
        "fs:crash,space=40",
        "--metrics",
        "127.0.0.1:0",
    )
    with start("run", *options, "--", "/bin/sh", "-c", STRUCK) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        port = listening_port(child.pid)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            found = parse(page.read().decode())
        child.stdin.close()
        assert child.wait() == 0

    def one(name: str, /, **labels: str) -> float:
        return found[f"hardtack_{name}", tuple(sorted(labels.items()))]

    assert one("service_restarts_total", service="fs") == 1
    assert one("service_restarts_total", service="vm") == 0
    assert one("service_up", service="fs") == 1
    assert 0 < one("service_recovery_seconds", service="fs") < 10
    assert one("faults_injected_total", target="fs", kind="crash") == 1
    assert any(name == "hardtack_syscall_errors_total" for name, _ in found)
    assert one("syscall_seconds_count", name="mmap") > 0
    assert one("program_cpu_seconds_total", mode="user") > 0
    assert one("context_switches_total", kind="voluntary") > 0
    assert one("cache_lookups_total", cache="names", outcome="hit") > 0
    assert one("tcp_segments_total", kind="sent") == 0
    assert sum(n for (name, _), n in found.items() if name == "hardtack_journal_commits_total") > 0


def listening_port(pid: int) -> int:
    """The TCP port that a process listens on (proc(5): fd, net/tcp)."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.update(re.findall(r"socket:\[(\d+)\]", os.readlink(fd)))
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    (row,) = [row for row in rows if row[3] == "0A" and row[9] in inodes]
    return int(row[1].split(":")[1], 16)


def test_on_a_terminal_ctrl_c_is_the_guests_and_the_terminal_is_given_back() -> None:
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    script = "trap 'echo caught; exit 5' INT; echo up; while :; do sleep 1; done"
    child = subprocess.Popen(
        [*HARDTACK, "run", "--", "/bin/sh", "-c", script],
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    shown = read_until(master, b"up\r\n")
    assert termios.tcgetattr(slave) != before
    os.write(master, b"\x03")
    shown += read_until(master, b"caught\r\n")
    assert child.wait() == 5
    assert termios.tcgetattr(slave) == before
    for fd in (master, slave):
        os.close(fd)


def read_until(fd: int, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        select.select([fd], [], [])
        shown += os.read(fd, 1000)
    return shown


WHICH = "for n in 0 1 2; do test -e /proc/self/fd/$n && echo open || echo closed; done"


@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&-", ">&- 2>&-"])
def test_a_stream_that_the_caller_closed_is_closed(closing: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    guest = f"exec 9> {out}; {WHICH.replace('echo', 'echo >&9')}; exec 9>&-; cat < /dev/null"
    seen = []
    for prefix in ("", f"{sys.executable} -m boot run --bind {tmp_path}:{tmp_path}:rw -- "):
        line = f"{prefix}/bin/sh -c '{guest}' {closing}; echo status $? >> {out}"
        subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, timeout=60, check=True)
        seen.append(out.read_text())
        out.unlink()
    assert seen[0].count("closed") == closing.count("-")
    assert seen[1] == seen[0]
