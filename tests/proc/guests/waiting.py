"""Waits that other processes, signals, stops and deadlines end; prints the same on any Linux."""

import ctypes
import errno
import os
import select
import signal
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(100_000)
alarms: list[int] = []


def result(value: int) -> int | str:
    """What a C function returned, or the name of its errno."""
    return value if value >= 0 else errno.errorcode[ctypes.get_errno()]


def say(*words: object) -> None:
    print(*words, flush=True)


def alarm_in(seconds: float, restart: bool = False) -> None:
    signal.signal(signal.SIGALRM, lambda number, _: alarms.append(number))
    signal.siginterrupt(signal.SIGALRM, not restart)
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Child:
    """A forked process that does one thing; leaving the block waits for its end."""

    def __init__(self, does: object) -> None:
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            does()  # type: ignore[operator]
            os._exit(0)

    def __enter__(self) -> int:
        return self.pid

    def __exit__(self, *_: object) -> None:
        say("child", os.waitpid(self.pid, 0)[1])


def pipes() -> None:
    r, w = os.pipe()

    def writes() -> None:
        os.close(r)
        os.write(w, b"z" * 200_000)

    with Child(writes):
        os.close(w)
        size = 0
        while piece := os.read(r, 70_000):
            size += len(piece)
        say("read to the end:", size)
    os.close(r)
    r, w = os.pipe()

    def is_killed() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.close(r)
        os.write(w, b"x")

    with Child(is_killed):
        os.close(r)
        time.sleep(0.1)


def interrupts() -> None:
    r, w = os.pipe()
    alarm_in(0.2)
    say("write, cut short:", result(libc.write(w, buffer, 100_000)))
    alarm_in(0.2)
    say("write, nothing done:", result(libc.write(w, buffer, 100)))
    r, w = os.pipe()
    alarm_in(0.2)
    say("read:", result(libc.read(r, buffer, 10)))
    alarm_in(0.1, restart=True)

    def writes_late() -> None:
        time.sleep(0.4)
        os.write(w, b"late")

    with Child(writes_late):
        say("read, restarted:", result(libc.read(r, buffer, 10)), len(alarms))
    poll = struct.pack("<iHH", r, 1, 0)
    alarm_in(0.2, restart=True)
    say("poll:", result(libc.poll(poll, 1, 5000)))


def stops() -> None:
    r, _ = os.pipe()

    def stop_and_continue(pid: int) -> None:
        time.sleep(0.2)
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        time.sleep(0.3)
        os.kill(pid, signal.SIGCONT)

    def polls() -> None:
        start = time.monotonic()
        value = libc.poll(struct.pack("<iHH", r, 1, 0), 1, 800)
        say("poll over a stop:", result(value), time.monotonic() - start < 1)

    def epolls() -> None:
        epoll = select.epoll()
        value = libc.epoll_wait(epoll.fileno(), buffer, 1, 5000)
        say("epoll_wait over a stop:", result(value))

    for does in (polls, epolls):
        with Child(does) as pid:
            stop_and_continue(pid)


def ends() -> None:
    time.sleep(0.1)
    os._exit(7)


def signals_back() -> None:
    time.sleep(0.1)
    os.kill(os.getppid(), signal.SIGUSR1)


def signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGUSR1])
    mask = struct.pack("<Q", 1 << 16 | 1 << 9)
    fd = libc.signalfd(-1, mask, 0)
    with Child(ends):
        record = os.read(fd, 128)
        say("signalfd:", struct.unpack_from("<Iii", record), record[40])
    epoll = select.epoll()
    epoll.register(fd, select.EPOLLIN)
    with Child(signals_back):
        say("epoll of a signalfd:", [events for _, events in epoll.poll(5)])


def threads() -> None:
    r, w = os.pipe()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(os.read(r, 5)))
    reader.start()
    time.sleep(0.1)
    os.close(r)
    os.write(w, b"still")
    reader.join()
    say("closed while it was read:", got)
    r, w = os.pipe()
    reader = threading.Thread(target=lambda: libc.read(r, buffer, 100))
    ctypes.memset(buffer, 0, 4096)
    reader.start()
    time.sleep(0.1)

    def looks() -> None:
        time.sleep(0.3)
        say("the child's copy:", buffer.raw[:5])

    with Child(looks):
        ctypes.memset(ctypes.addressof(buffer) + 2000, 65, 10)  # the page is copied here
        os.write(w, b"hello")
        reader.join()
        say("the parent's:", buffer.raw[:5])
        time.sleep(0.5)


for part in (pipes, interrupts, stops, signals, threads):
    say(part.__name__)
    part()
