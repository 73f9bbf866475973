"""Does the line discipline do what the host's does, byte for byte?

The host's pty is the oracle: the same settings, the same keys, the same reads.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios as host
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.proc.tty import termios as t
from services.proc.tty.ldisc import Discipline

if TYPE_CHECKING:
    from collections.abc import Iterator


class Wire:
    def __init__(self) -> None:
        self.signals: list[int] = []
        self.discipline: Discipline | None = None
        self.shown = bytearray()

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def discard_output(self) -> None:
        self.shown.clear()


def feed(discipline: Discipline, wire: Wire, data: bytes) -> None:
    discipline.receive(data)
    if not discipline.stopped:
        wire.shown += discipline.echo
        discipline.echo.clear()


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def drain(fd: int) -> bytes:
    data = b""
    quiet = 0
    while quiet < 3:
        if select.select([fd], [], [], 0.002)[0]:
            data += os.read(fd, 65536)
            quiet = 0
        else:
            quiet += 1
    return data


def configure(fd: int, settings: t.Termios) -> None:
    attributes = host.tcgetattr(fd)
    attributes[0], attributes[1], attributes[3] = settings.iflag, settings.oflag, settings.lflag
    attributes[6] = [bytes((c,)) for c in settings.cc] + attributes[6][19:]
    host.tcsetattr(fd, host.TCSANOW, attributes)


FLAGS_I = [t.ICRNL, t.INLCR, t.IGNCR, t.ISTRIP, t.IUCLC, t.PARMRK, t.IUTF8]
FLAGS_O = [t.OPOST, t.ONLCR, t.OCRNL, t.ONOCR, t.ONLRET, t.OLCUC, t.XTABS]
FLAGS_L = [
    t.ISIG, t.ICANON, t.ECHO, t.ECHOE, t.ECHOK, t.ECHONL, t.NOFLSH, t.ECHOCTL, t.ECHOPRT, t.ECHOKE,
    t.IEXTEN,
]  # fmt: skip
KEYS = st.sampled_from(
    [b"a", b"Z", b"_", b" ", b".", b"\t", b"\r", b"\n", b"\x7f", b"\x15", b"\x17", b"\x04", b"\x16",
     b"\x12", b"\x03", b"\x1c", b"\x1a", b"\x00", b"\xff", "é".encode(), "漢".encode(), b"\x01",
     b"word two", b"\x08", b"\x1b[A"]
)  # fmt: skip


def some(flags: list[int], usual: int) -> st.SearchStrategy[int]:
    return st.one_of(st.just(usual), st.lists(st.sampled_from(flags)).map(lambda f: sum(set(f))))


SETTINGS = st.builds(
    lambda i, o, lo: t.Termios(i, o, t.STANDARD.cflag, lo, 0, t.CONTROLS),
    some(FLAGS_I, t.ICRNL),
    some(FLAGS_O, t.OPOST | t.ONLCR),
    some(FLAGS_L, t.STANDARD.lflag),
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(SETTINGS, st.lists(KEYS, max_size=12), st.lists(st.integers(1, 12), max_size=4))
def test_same_as_the_host(wanted: t.Termios, keys: list[bytes], reads: list[int]) -> None:
    typed = b"".join(keys)
    wire = Wire()
    discipline = Discipline(wire)
    with terminal() as (master, slave):
        os.set_blocking(slave, False)
        configure(slave, wanted)
        discipline.configure(wanted)
        os.write(slave, b"prompt\t$ ")
        wire.shown += discipline.output.process(b"prompt\t$ ")
        assert drain(master) == bytes(wire.shown)
        wire.shown.clear()
        os.write(master, typed)
        feed(discipline, wire, typed)
        flushed = wanted.lflag & t.ISIG and not wanted.lflag & t.NOFLSH
        shown = drain(master)
        if shown != bytes(wire.shown):  # the host's own work queue may be late
            time.sleep(0.05)
            shown += drain(master)
        if not (flushed and set(typed) & {3, 28, 26}):  # what was read before the flush is luck
            assert shown == bytes(wire.shown)
        for count in reads:
            try:
                expected: bytes | None = os.read(slave, count)
            except BlockingIOError:
                expected = None
            got = discipline.take(count) if discipline.available() else None
            assert got == expected


@pytest.mark.parametrize("count", [1, 100, 4094, 4095, 4096, 5000])
def test_a_line_too_long_keeps_its_newline(count: int) -> None:
    wire = Wire()
    discipline = Discipline(wire)
    plain = t.Termios(0, 0, 0, t.ICANON)
    with terminal() as (master, slave):
        configure(slave, plain)
        discipline.configure(plain)
        line = bytes(65 + i % 26 for i in range(count)) + b"\n"
        for at in range(0, len(line), 512):
            os.write(master, line[at : at + 512])
            time.sleep(0.005)
            assert discipline.receive(line[at : at + 512]) == len(line[at : at + 512])
        assert discipline.take(9000) == os.read(slave, 9000)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(KEYS, max_size=6), st.lists(KEYS, max_size=6), st.booleans())
def test_switching_modes_reinterprets(first: list[bytes], then: list[bytes], up: bool) -> None:
    modes = [t.Termios(0, 0, 0, t.ICANON), t.Termios(0, 0, 0, 0)]
    if up:
        modes.reverse()
    discipline = Discipline(Wire())
    with terminal() as (master, slave):
        os.set_blocking(slave, False)
        for mode, keys in zip(modes, (first, then), strict=True):
            configure(slave, mode)
            discipline.configure(mode)
            os.write(master, b"".join(keys))
            drain(master)
            select.select([slave], [], [], 0.03)
            discipline.receive(b"".join(keys))
        for _ in range(3):
            try:
                expected: bytes | None = os.read(slave, 64)
            except BlockingIOError:
                expected = None
            assert (discipline.take(64) if discipline.available() else None) == expected


def test_stop_holds_the_echo_back() -> None:
    wire = Wire()
    discipline = Discipline(wire)
    feed(discipline, wire, b"a\x13bc")
    assert wire.shown == b"a" or wire.shown == b""
    assert discipline.stopped
    feed(discipline, wire, b"\x11")
    assert wire.shown == b"abc"


def test_signals_flush() -> None:
    wire = Wire()
    discipline = Discipline(wire)
    feed(discipline, wire, b"half a line\x03")
    assert wire.signals == [2]
    assert wire.shown == b"^C"
    feed(discipline, wire, b"x\n")
    assert discipline.take(100) == b"x\n"
