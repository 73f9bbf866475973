"""struct termios as the kernel has it: flags, control characters, layouts (termios(3)).

Flag values are asm-generic's. A `Termios` is never changed: setting makes a new one.
"""

from __future__ import annotations

import struct

import attrs

# c_iflag
IGNBRK, BRKINT, IGNPAR, PARMRK, INPCK, ISTRIP = 0o1, 0o2, 0o4, 0o10, 0o20, 0o40
INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY = 0o100, 0o200, 0o400, 0o1000, 0o2000, 0o4000
IXOFF, IMAXBEL, IUTF8 = 0o10000, 0o20000, 0o40000

# c_oflag
OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET = 0o1, 0o2, 0o4, 0o10, 0o20, 0o40
TABDLY = XTABS = 0o14000

# c_cflag
CS8, CREAD, HUPCL, B38400 = 0o60, 0o200, 0o2000, 0o17
CBAUD = 0o10017

# c_lflag
ISIG, ICANON, XCASE, ECHO, ECHOE, ECHOK = 0o1, 0o2, 0o4, 0o10, 0o20, 0o40
ECHONL, NOFLSH, TOSTOP, ECHOCTL, ECHOPRT, ECHOKE = 0o100, 0o200, 0o400, 0o1000, 0o2000, 0o4000
FLUSHO, PENDIN, IEXTEN, EXTPROC = 0o10000, 0o40000, 0o100000, 0o200000

# Indices of c_cc
VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSWTC, VSTART, VSTOP, VSUSP = range(11)
VEOL, VREPRINT, VDISCARD, VWERASE, VLNEXT, VEOL2 = range(11, 17)
NCCS = 19
DISABLED = 0
"""A control character that no key is (_POSIX_VDISABLE); in a line, the mark of end of file."""

_OLD = struct.Struct("<IIIIB19s")
_NEW = struct.Struct("<IIIIB19sII")
OLD_BYTES, NEW_BYTES = _OLD.size, _NEW.size

CONTROLS = bytes((3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0))
"""^C ^\\ DEL ^U ^D, TIME 0, MIN 1, -, ^Q ^S ^Z, -, ^R ^O ^W ^V, -."""

SPEEDS = dict(
    zip(
        (*range(16), *range(0o10001, 0o10020)),
        (
            0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
            57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000,
            2000000, 2500000, 3000000, 3500000, 4000000,
        ),
        strict=True,
    )
)  # fmt: skip
"""CBAUD's values, in bits per second; others are told by the speed fields of termios2."""


@attrs.frozen
class Termios:
    """The settings of a terminal."""

    iflag: int
    oflag: int
    cflag: int
    lflag: int
    line: int = 0
    cc: bytes = CONTROLS
    ispeed: int = 38400
    ospeed: int = 38400

    def pack(self) -> bytes:
        """struct termios, 36 bytes (TCGETS)."""
        return _OLD.pack(self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc)

    def pack2(self) -> bytes:
        """struct termios2, 44 bytes (TCGETS2)."""
        return _NEW.pack(
            self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc,
            self.ispeed, self.ospeed,
        )  # fmt: skip

    @classmethod
    def unpack(cls, image: bytes, old: Termios) -> Termios:
        """What TCSETS (36 bytes) or TCSETS2 (44) asks for; speeds follow CBAUD if it names one."""
        if len(image) == NEW_BYTES:
            iflag, oflag, cflag, lflag, line, cc, ispeed, ospeed = _NEW.unpack(image)
        else:
            iflag, oflag, cflag, lflag, line, cc = _OLD.unpack(image)
            ispeed, ospeed = old.ispeed, old.ospeed
        speed = SPEEDS.get(cflag & CBAUD)
        if speed is not None:
            ispeed = ospeed = speed
        return cls(iflag, oflag, cflag, lflag, line, cc, ispeed, ospeed)


STANDARD = Termios(
    ICRNL | IXON,
    OPOST | ONLCR,
    B38400 | CS8 | CREAD,
    ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
)
"""What a terminal starts with (tty_std_termios)."""
