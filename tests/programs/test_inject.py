"""Do injections into system calls do to a program what strace's do to it on Linux?

Each case is an expression in strace's words and a command. The oracle is strace itself, on the
host: `strace -f -e inject=EXPRESSION`. Output, errors and status have to be the same.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command, bash, run, script
from tests.programs.oracle import (
    Outcome,
    differences,
    environment,
    execute,
    on_hardtack,
    scratch_directory,
    unmet,
)

if TYPE_CHECKING:
    from pathlib import Path

PYTHON_YIELDS = """
import os, signal
signal.signal(signal.SIGUSR2, lambda *_: print("signal"))
for at in range(5):
    try: print(at, os.sched_yield())
    except OSError as error: print(at, error.strerror)
"""
PYTHON_THREADS = """
import os, threading
def calls(name):
    for at in range(3):
        try: os.sched_yield(); print(name, at, "done")
        except OSError as error: print(name, at, error.strerror)
for name in "abc":
    thread = threading.Thread(target=calls, args=name)
    thread.start(); thread.join()
"""
PYTHON_SLOW = """
import os, time
began = time.monotonic()
try: os.sched_yield()
except OSError as error: print(error.strerror)
took = time.monotonic() - began
print(f"{'slow' if took > 0.29 else 'quick'}")
"""
SQL = "create table t(a); insert into t values(1),(2); select sum(a) from t;"
GIT = "git init -q r && cd r && git -c user.name=a -c user.email=b commit -q --allow-empty -m x"

CASES: tuple[tuple[str, Command], ...] = (
    ("uname:error=EPERM", run("uname", "uname -a")),
    ("uname:error=ENOSYS:when=2+", bash("uname-second", "uname -s; uname -s")),
    ("uname:error=5", run("errno-number", "uname -s")),
    ("63:error=EPERM", run("call-number", "uname -s")),
    ("uname:poke_exit=@arg1=414243", run("poke-exit", "uname -s")),
    ("chdir:poke_enter=@arg1=2f00", bash("poke-enter", "cd /usr; pwd")),
    ("chdir:error=EACCES:poke_enter=@arg1=2f00", bash("poke-error", "cd /usr; pwd")),
    ("chdir:retval=0", script("retval", "cd /nowhere && pwd")),
    ("getppid:retval=4242", script("retval-number", "echo $PPID")),
    ("getuid,geteuid:retval=1234", run("retval-uid", "id -u")),
    ("geteuid:retval=7:syscall=getppid", run("pure-call", "id -u")),
    ("read:error=EIO:when=2", run("cat-read", "cat words.txt")),
    ("read:error=EINTR:when=2..4", run("cat-interrupted", "cat words.txt")),
    ("read:retval=0:when=2", run("cat-end", "cat words.txt")),
    ("openat:error=ENOENT:when=3", run("cat-open", "cat words.txt nothing")),
    ("openat:error=EMFILE:when=3+2", run("cat-open-step", "cat words.txt words.txt words.txt")),
    ("%file:error=EACCES:when=6+", run("ls-file", "ls -l words.txt")),
    ("/^(new)?fstat:error=EIO", run("ls-stat", "ls -l words.txt")),
    ("getdents64:error=EIO", run("ls-directory", "ls .")),
    ("getdents64:error=EIO:when=2", run("ls-directory-second", "ls .")),
    ("write:error=ENOSPC", run("echo-write", "/bin/echo hello")),
    ("write:error=ENOSPC:when=2..3+", run("dd-write", "dd if=words.txt bs=100 status=none")),
    ("write:retval=50:when=1", run("dd-short", "dd if=words.txt bs=100 count=1 status=none")),
    ("copy_file_range,ioctl:error=EOPNOTSUPP", script("cp", "cp words.txt n && cksum < n")),
    ("fsync,fdatasync:error=EIO", script("dd-sync", "dd if=words.txt of=n conv=fsync status=none")),
    ("rename,renameat,renameat2:error=EXDEV", script("mv", "mv words.txt n && cksum < n; ls")),
    ("unlinkat:error=EBUSY:when=1", script("rm", "touch a b; rm a b; ls a b")),
    ("mkdir:error=EROFS", script("mkdir", "mkdir a; ls a")),
    ("clone,clone3,fork,vfork:error=EAGAIN", script("fork", "/bin/echo a; echo b")),
    ("execve:error=EPERM:when=1", script("exec", "/bin/echo a; echo b")),
    ("execve:error=ENOEXEC", script("exec-format", "/bin/echo a; echo b")),
    ("uname:signal=TERM", script("signal", "uname -s; echo $?")),
    ("uname:signal=KILL", script("kill", "uname -s; echo $?")),
    ("uname:signal=9", run("kill-first", "uname -s")),
    ("uname:signal=SIGSEGV:error=EIO", script("signal-error", "uname -s; echo $?")),
    ("uname:signal=TERM:delay_enter=1ms", script("signal-lost", "uname -s; echo $?")),
    ("uname:signal=TERM:delay_exit=1000", script("signal-delay", "uname -s; echo $?")),
    ("clock_nanosleep:signal=USR1", script("signal-sleep", "sleep 9; echo $?")),
    ("sched_yield:error=EIO:when=2+2", run("python", f"python3 -c '{PYTHON_YIELDS}'")),
    ("sched_yield:signal=USR2:when=2..3", run("python-signal", f"python3 -c '{PYTHON_YIELDS}'")),
    ("sched_yield:signal=USR2:error=EINTR:when=3",
     run("python-eintr", f"python3 -c '{PYTHON_YIELDS}'")),
    ("sched_yield:error=EIO:when=2", run("python-threads", f"python3 -c '{PYTHON_THREADS}'")),
    ("sched_yield:delay_enter=300ms", run("delay-enter", f"""python3 -c "{PYTHON_SLOW}" """)),
    ("sched_yield:error=EIO:delay_exit=300000",
     run("delay-exit", f"""python3 -c "{PYTHON_SLOW}" """)),
    ("pwrite64:error=EIO:when=3", run("sqlite", f"sqlite3 a.db '{SQL}'")),
    ("fdatasync:error=EIO", run("sqlite-sync", f"sqlite3 a.db '{SQL}'")),
    ("fcntl:error=EDEADLK:when=4+", run("sqlite-lock", f"sqlite3 a.db '{SQL}'")),
    ("rename:error=EIO", script("git-rename", GIT, "git")),
    ("link,rename:error=EPERM:when=2", script("git-second", GIT, "git")),
    ("exit_group:error=EPERM", script("exit", "exit 3")),
    ("rt_sigreturn:error=EPERM", script("sigreturn", "trap 'echo x' USR1; kill -USR1 $$; echo y")),
    ("mmap:error=ENOMEM:when=1", run("loader", "cat words.txt")),
    ("brk:error=ENOMEM", run("brk", "cat words.txt")),
    ("io_uring_setup:retval=3", run("not-there", "uname -s")),
    ("!read,write,openat:error=ENOSYS:when=60+", run("not-these", "cat words.txt")),
    ("all:error=EINVAL:when=20+", run("all", "ls -l words.txt")),
    ("%net:error=ENETUNREACH",
     run("network", "bash -c 'echo > /dev/tcp/127.0.0.1/9 || echo no'")),
    ("inject=dup2:error=EBADF", script("pipe", "echo a | cat; echo b")),
    ("fault=uname", run("fault", "uname -s")),
    ("fault=openat:error=ELOOP:when=3", run("fault-error", "cat words.txt")),
)  # fmt: skip


@functools.cache
def _traces() -> bool:
    """Whether strace may trace here."""
    try:
        traced = subprocess.run(["strace", "-o", os.devnull, "true"], check=False)
    except OSError:
        return False
    return traced.returncode == 0


def _under_strace(expression: str, command: Command, scratch: Path) -> Outcome:
    with tempfile.NamedTemporaryFile(suffix=".strace") as log:
        option = (
            expression if expression.startswith(("inject=", "fault=")) else f"inject={expression}"
        )
        argv = ("strace", "-f", "-o", log.name, "-e", option, *command.argv)
        return execute(argv, command.stdin, scratch, environment(scratch))


@pytest.mark.parametrize(
    ("expression", "command"), [pytest.param(*case, id=case[1].name) for case in CASES]
)
def test_an_injection_does_what_straces_does(expression: str, command: Command) -> None:
    if absent := unmet(command):
        pytest.skip(f"not on this machine: {', '.join(absent)}")
    if not _traces():
        pytest.skip("no strace on this machine, or nothing may be traced")
    with scratch_directory(command.files) as scratch:
        hardtack = on_hardtack(command, scratch, options=["--inject", expression])
        host = _under_strace(expression, command, scratch)
    if lines := differences(host, hardtack):
        pytest.fail("\n".join([expression, *lines]), pytrace=False)
