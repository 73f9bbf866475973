"""Do programs see the same of /proc and of terminals here as on the host?

One script each, run on both; what it prints must be equal to the byte.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"

PROC = r"""
import os, tempfile, threading, time

pid = str(os.getpid())


def e(f, *a, **k):
    try:
        r = f(*a, **k)
    except OSError as x:
        return x.strerror
    return str(r).replace(pid, "PID") if not hasattr(r, "close") else "open"


fd = os.open("/proc/self", os.O_RDONLY)
print(
    oct(os.stat("comm", dir_fd=fd).st_mode),
    os.readlink("exe", dir_fd=fd) == os.readlink("/proc/self/exe"),
)
print(open(os.open("comm", os.O_RDONLY, dir_fd=fd)).read(), e(os.readlink, f"/proc/self/fd/{fd}"))
open("/proc/self/comm", "w").write("renamed\n")
print(open("/proc/self/comm").read())
print(open(f"/proc/self/fdinfo/{fd}").read().split("mnt_id")[0])
print(e(os.mkdir, "/proc/x"), e(os.mkdir, "/proc/version"), e(os.rmdir, "/proc/1"))
print(e(os.unlink, "/proc/version"), e(os.unlink, "/proc/1"), e(os.rmdir, "/proc/version"))
print(
    e(os.symlink, "a", "/proc/x"),
    e(os.rename, "/proc/version", "/tmp/y"),
    e(os.link, "/proc/version", "/tmp/y"),
)
print(e(os.mkdir, "/proc"), e(os.rmdir, "/proc"), e(os.chmod, "/proc/self/comm", 0o600))
print(e(os.open, "/proc/new", os.O_CREAT | os.O_WRONLY), e(os.open, "/proc/self", os.O_WRONLY))
print(
    e(os.open, "/proc/version", os.O_CREAT | os.O_EXCL), e(os.open, "/proc/self/exe", os.O_NOFOLLOW)
)
print(e(os.open, "/proc/version/", 0), e(os.stat, "/proc/version/x"), e(os.listdir, "/proc/999999"))
print(e(os.readlink, "/proc/version"), e(os.open, "/proc/sys/kernel/osrelease", os.O_RDWR))
print(
    e(os.write, os.open("/proc/version", os.O_RDWR), b"x"),
    e(os.write, os.open("/proc/self/stat", os.O_RDWR), b"x"),
)
r, w = os.pipe()
os.write(w, b"hello")
print(open(f"/proc/self/fd/{r}", "rb", buffering=0).read(5))
f = tempfile.TemporaryFile(dir="/tmp")
f.write(b"deleted content")
f.flush()
print(open(f"/proc/self/fd/{f.fileno()}").read(), os.readlink(f"/proc/self/fd/{f.fileno()}")[-10:])
m = os.memfd_create("box")
os.write(m, b"memfd")
print(os.readlink(f"/proc/self/fd/{m}"), open(f"/proc/self/fd/{m}").read())
os.chdir("/proc/self/task")
print(e(os.getcwd), e(os.listdir, "."), oct(os.stat(".").st_mode))
print(os.path.samefile("..", "/proc/self"), e(os.open, "nonexistent", 0))
os.chdir("../cwd/..")
print(e(os.getcwd))
os.chdir("/proc/self/cwd/root/..")
print(e(os.getcwd))
child = os.fork()
if not child:
    os._exit(0)
time.sleep(0.3)
print(
    open(f"/proc/{child}/stat").read().split()[1:3],
    [open(f"/proc/{child}/{n}").read() for n in ("cmdline", "maps")],
)
print(
    os.listdir(f"/proc/{child}/fd"),
    e(os.readlink, f"/proc/{child}/exe"),
    e(os.readlink, f"/proc/{child}/cwd"),
)
d, s = os.open(f"/proc/{child}", os.O_RDONLY), open(f"/proc/{child}/stat")
os.wait()
print(e(os.listdir, d), e(s.read), e(os.stat, f"/proc/{child}"))


def thread():
    open("/proc/thread-self/comm", "w").write("thr")
    print(open("/proc/thread-self/comm").read(), open("/proc/self/comm").read())


t = threading.Thread(target=thread)
t.start()
t.join()
print(
    [
        os.access(p, m)
        for p, m in (
            ("/proc/version", 2),
            ("/proc/self/comm", 2),
            ("/proc/self/exe", 1),
            ("/proc/sys/kernel/osrelease", 2),
        )
    ]
)
keys = [row.split(":")[0] for row in open("/proc/self/status")]
print(
    [
        k
        for k in (
            "Name",
            "State",
            "Tgid",
            "Pid",
            "PPid",
            "Uid",
            "VmSize",
            "VmRSS",
            "Threads",
            "SigCgt",
        )
        if k in keys
    ]
)
print(len(open("/proc/self/stat").read().split()), len(open("/proc/self/statm").read().split()))
os.setuid(1234)
print(
    e(os.listdir, "/proc/1/fd"),
    e(os.readlink, "/proc/1/exe"),
    e(open, "/proc/1/environ"),
    e(open, "/proc/1/maps"),
)
print(
    len(os.listdir("/proc/self/fd")) > 3,
    e(open, "/proc/self/maps"),
    os.stat("/proc/self").st_uid,
    e(open, "/proc/1/stat"),
)
"""

TERMINAL = r"""
import fcntl, os, pty, select, signal, struct, sys, termios, time, tty


def e(f, *a):
    try:
        return f(*a)
    except OSError as x:
        return x.strerror


def ready(fd):
    p = select.poll()
    p.register(fd)
    return dict(p.poll(0)).get(fd, 0)


m, s = pty.openpty()
print(os.ttyname(s)[:9], os.isatty(m), os.isatty(s), termios.tcgetattr(s)[:6])
os.write(m, b"hello\x7fp\n")
print(os.read(s, 100), os.read(m, 100))
os.write(s, b"out\n")
print(os.read(m, 100))
print(e(os.tcgetpgrp, s), e(os.tcgetpgrp, m), e(fcntl.ioctl, s, 0x5429, b"    "))
fcntl.ioctl(m, termios.TIOCSWINSZ, struct.pack("4H", 5, 6, 7, 8))
print(struct.unpack("4H", fcntl.ioctl(s, termios.TIOCGWINSZ, bytes(8))))
name = os.ttyname(s)
os.close(s)
print(e(os.read, m, 10), ready(m))
s = os.open(name, os.O_RDWR | os.O_NOCTTY)
print(ready(m))
os.close(m)
print(e(os.read, s, 10), e(os.write, s, b"x"), os.path.exists(name), ready(s))
pid, fd = pty.fork()
if pid == 0:
    say = lambda *a: print(*a, flush=True)
    say("child", os.getpid() == os.getsid(0), os.tcgetpgrp(0) == os.getpgrp(), os.ttyname(0)[:9])
    open("/dev/tty", "w").write("by its other name\n")
    signal.signal(signal.SIGINT, lambda *a: os.write(1, b"INT\n"))
    signal.signal(signal.SIGWINCH, lambda *a: os.write(1, b"%d %d)\n" % os.get_terminal_size(0)))
    signal.signal(signal.SIGHUP, lambda *a: os._exit(7))
    while line := sys.stdin.readline():
        say("got", repr(line))
    say("EOF")
    time.sleep(100)


def until(text):
    b = b""
    while text not in b:
        b += os.read(fd, 1000)
    print(b)


until(b"name\r\n")
os.write(fd, b"abc\n")
until(b"n'\r\n")
os.write(fd, b"\x03")
until(b"INT\r\n")
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", 10, 20, 0, 0))
until(b")\r\n")
os.write(fd, b"\x04")
until(b"EOF\r\n")
print(os.tcgetpgrp(fd) == pid)
os.close(fd)
print(os.waitpid(pid, 0)[1])
m, s = pty.openpty()
tty.setraw(s)
a = termios.tcgetattr(s)


def timing(vmin, vtime):
    a[6][termios.VMIN], a[6][termios.VTIME] = vmin, vtime
    termios.tcsetattr(s, termios.TCSANOW, a)


timing(0, 2)
t = time.time()
print(os.read(s, 10), time.time() - t > 0.15)
timing(3, 0)
os.write(m, b"abcd")
print(os.read(s, 3), os.read(s, 1) if select.select([s], [], [], 0)[0] else "not yet")
timing(5, 1)
print(os.read(s, 10))
timing(0, 0)
print(os.read(s, 10))
timing(1, 0)
os.set_blocking(s, False)
print(e(os.read, s, 1), e(os.lseek, s, 0, 0), e(fcntl.ioctl, s, 0x1234, b"x"))
n = 0
try:
    while True:
        n += os.write(m, b"y" * 1000) if ready(m) & 4 else 1 / 0
except ZeroDivisionError:
    print("full", n > 4000)
print(len(os.read(s, 100000)) <= 4096)
termios.tcflush(s, termios.TCIFLUSH)
print(oct(fcntl.fcntl(s, 3)), e(os.read, s, 1))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists(PYTHON), reason="needs root, python3")
@pytest.mark.parametrize("script", [PROC, TERMINAL], ids=["proc", "terminal"])
def test_same_as_on_the_host(script: str) -> None:
    program = [PYTHON, "-c", script]
    environment = {"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C.UTF-8"}
    kernel = [sys.executable, "-m", "boot", "run", "-e", "LC_ALL=C.UTF-8", "--", *program]
    host, guest = (
        subprocess.run(
            argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            start_new_session=True, timeout=120, check=False,
        )
        for argv, cwd in ((program, "/"), (kernel, REPOSITORY))
    )  # fmt: skip
    assert guest.stderr == host.stderr == b""
    assert guest.stdout.decode().splitlines() == host.stdout.decode().splitlines()
    assert guest.returncode == host.returncode == 0
