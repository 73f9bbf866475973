"""Formats of ioctl: the command's name, and the argument of the commands that programs use.

A command's argument is decoded as its kind says: a number that the kernel fills in or reads,
a terminal's modes, an interface request. Commands without a kind show their argument in
hexadecimal; strace knows more of those (loop devices, consoles, drivers).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .buffers import INT_AT, LONG_AT, UINT_AT, ULONG_AT, USHORT_AT, counted
from .scalars import INT, ULONG
from .sockaddr import sockaddr
from .tables import terminal as t
from .tables.ioctls import IOCTLS
from .tables.network import HARDWARE_TYPES
from .text import address, array, hexadecimal, members, quote_field, unsigned

if TYPE_CHECKING:
    from .model import Ctx, Format
    from .xlat import Table

_WINSIZE = struct.Struct("<4H")
_IFREQ_BYTES = 40
SOCKET_COMMANDS = 0x89
HARDWARE_BYTES = {1: 6, 768: 4, 772: 6}  # Ethernet, tunnels, the loopback
_SIOCGIFCONF = 0x8912

NONE = """
    TIOCEXCL TIOCNXCL TIOCCONS TIOCSSERIAL TIOCNOTTY TIOCSBRK TIOCCBRK TIOCVHANGUP FIONCLEX FIOCLEX
    BLKRRPART BLKFLSBUF BLKTRACESTART BLKTRACESTOP BLKTRACETEARDOWN LOOP_CLR_FD LOOP_SET_CAPACITY
    LOOP_CTL_GET_FREE RNDZAPENTCNT RNDCLEARPOOL RNDRESEEDCRNG RTC_AIE_ON RTC_AIE_OFF
    RTC_UIE_ON RTC_UIE_OFF RTC_PIE_ON RTC_PIE_OFF RTC_WIE_ON RTC_WIE_OFF RTC_VL_CLR FIFREEZE FITHAW
    NS_GET_USERNS NS_GET_PARENT NS_GET_NSTYPE KDENABIO KDDISABIO KDMAPDISP KDUNMAPDISP PIO_FONTRESET
"""
NUMBER = """
    TIOCSCTTY TCSBRK TCSBRKP LOOP_SET_FD LOOP_CHANGE_FD LOOP_CTL_ADD LOOP_CTL_REMOVE FICLONE
"""
WORD = "BLKRASET BLKFRASET LOOP_SET_DIRECT_IO LOOP_SET_BLOCK_SIZE RTC_IRQP_SET RTC_EPOCH_SET"
INT_FROM = """
    TIOCSPGRP TIOCSSOFTCAR TIOCPKT FIONBIO FIOASYNC TIOCSETD TIOCSPTLCK BLKROSET BLKBSZSET
    FIOSETOWN SIOCSPGRP RNDADDTOENTCNT SIOCSIFENCAP
"""
INT_INTO = """
    TIOCGPGRP TIOCOUTQ TIOCGSOFTCAR FIONREAD TIOCGETD TIOCGSID TIOCGEXCL TIOCGPTN TIOCGDEV BLKROGET
    BLKSSZGET BLKALIGNOFF BLKBSZGET FIOGETOWN SIOCGPGRP SIOCATMARK RNDGETENTCNT SIOCOUTQNSD
    SIOCGIFENCAP NS_GET_OWNER_UID
"""
UINT_INTO = "BLKIOMIN BLKIOOPT BLKPBSZGET BLKDISCARDZEROES BLKGETZONESZ BLKGETNRZONES"
USHORT_INTO = "BLKSECTGET BLKROTATIONAL"
LONG_INTO = "BLKRAGET BLKFRAGET"
ULONG_INTO = """
    BLKGETSIZE BLKGETSIZE64 BLKGETDISKSEQ RTC_IRQP_READ RTC_EPOCH_READ HDIO_GET_UNMASKINTR
    HDIO_GET_MULTCOUNT
"""
INTERFACE_ADDRESSES = {
    "ADDR": "ifr_addr", "DSTADDR": "ifr_dstaddr", "BRDADDR": "ifr_broadaddr",
    "NETMASK": "ifr_netmask",
}  # fmt: skip
INTERFACE_NUMBERS = {
    "METRIC": "ifr_metric", "MTU": "ifr_mtu", "INDEX": "ifr_ifindex", "TXQLEN": "ifr_qlen",
}  # fmt: skip


def _structure(size: struct.Struct, *names: str) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        raw = ctx.fetch(word, size.size)
        if raw is None:
            return address(word)
        return members(
            **{name: str(field) for name, field in zip(names, size.unpack(raw), strict=True)}
        )

    return render


def _bits_at(table: Table, size: int = 4) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        raw = ctx.fetch(word, size)
        return address(word) if raw is None else f"[{table.flags(int.from_bytes(raw, 'little'))}]"

    return render


def _modes(table: Table, word: int) -> str:
    return table.flags(word) if word else ""


def _termios(layout: str, size: int) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        raw = ctx.fetch(word, size)
        if raw is None:
            return address(word)
        given, output, control, local = struct.unpack_from(layout, raw)
        delays = [table.value(output & max(table.names)) for table in t.DELAYS]
        speeds = [t.SPEEDS.value(control & 0x100F)]
        if control >> 16 & 0x100F:
            speeds.append(f"{t.SPEEDS.value(control >> 16 & 0x100F)}<<IBSHIFT")
        size_name = t.CHARACTER_SIZES.value(control & 0x30)
        output_modes = _modes(t.OUTPUT_MODES, output & ~0xFF00)
        control_modes = _modes(t.CONTROL_MODES, control & ~0x100F103F)
        return (
            f"{{c_iflag={_modes(t.INPUT_MODES, given)}, "
            f"c_oflag={'|'.join([*delays, output_modes])}, "
            f"c_cflag={'|'.join([*speeds, size_name, control_modes])}, "
            f"c_lflag={_modes(t.LOCAL_MODES, local)}, ...}}"
        )

    return render


def _interface_name(raw: bytes) -> str:
    return quote_field(raw[:16])


def _interface(command: str, raw: bytes, ctx: Ctx) -> str:
    """Write the part of an ifreq that a command is about."""
    subject = command.removeprefix(command[:7])
    if subject == "FLAGS":
        return f"ifr_flags={t.INTERFACE_FLAGS.flags(int.from_bytes(raw[16:18], 'little'))}"
    if subject in INTERFACE_ADDRESSES:
        return f"{INTERFACE_ADDRESSES[subject]}={sockaddr(raw[16:32], ctx)}"
    if subject in INTERFACE_NUMBERS:
        return f"{INTERFACE_NUMBERS[subject]}={int.from_bytes(raw[16:20], 'little', signed=True)}"
    if subject in ("NAME", "SLAVE"):
        member = "ifr_newname" if subject == "NAME" else "ifr_slave"
        return f"{member}={quote_field(raw[16:32])}"
    kind = int.from_bytes(raw[16:18], "little")
    octets = raw[18 : 18 + HARDWARE_BYTES.get(kind, 14)]
    colons = ":".join([f"{octet:02x}" for octet in octets])
    return f"ifr_hwaddr={{sa_family={HARDWARE_TYPES.value(kind)}, sa_data={colons}}}"


def _interface_request(command: str) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        raw = ctx.peek(word, _IFREQ_BYTES)
        if raw is None:
            return address(word)
        name = f"ifr_name={_interface_name(raw)}"
        if ctx.failed and command[4] == "G":
            return f"{{{name}}}"
        return f"{{{name}, {_interface(command, raw, ctx)}}}"

    return render


def _name_request(word: int, ctx: Ctx) -> str:
    raw = ctx.peek(word, _IFREQ_BYTES)
    if raw is None:
        return address(word)
    index = f"ifr_ifindex={int.from_bytes(raw[16:20], 'little', signed=True)}"
    return f"{{{index}}}" if ctx.failed else f"{{{index}, ifr_name={_interface_name(raw)}}}"


def _ifreq_count(size: int) -> str:
    count, rest = divmod(size, _IFREQ_BYTES)
    if size <= 0 or rest:
        return str(size)
    return f"{size} /* {count} * sizeof(struct ifreq) */"


def _ifconf_size(word: int, ctx: Ctx) -> str:
    raw = ctx.peek(word, 16)
    return "" if raw is None else raw[:4].hex()


def _interfaces(word: int, ctx: Ctx) -> str:
    raw = ctx.peek(word, 16)
    if raw is None:
        return address(word)
    size, base = struct.unpack("<i4xQ", raw)
    saved = ctx.saved.get("argument")
    before = int.from_bytes(bytes.fromhex(saved), "little", signed=True) if saved else size
    length = _ifreq_count(before)
    if not ctx.failed and base and before != size:
        length += f" => {_ifreq_count(size)}"

    def element(raw: bytes, ctx: Ctx) -> str:
        return members(ifr_name=_interface_name(raw), ifr_addr=sockaddr(raw[16:32], ctx))

    shown = address(base)
    if base and not ctx.failed:
        count = unsigned(size) // _IFREQ_BYTES
        shown = array(base, count, _IFREQ_BYTES, element, ctx)
    return members(ifc_len=length, ifc_buf=shown)


def _label(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 256)
    return address(word) if raw is None else quote_field(raw)


_CLONE_RANGE = _structure(
    struct.Struct("<i4xQQQ"), "src_fd", "src_offset", "src_length", "dest_offset"
)
_RTC = struct.Struct("<6i12x")


def _rtc_time(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, _RTC.size)
    if raw is None:
        return address(word)
    names = ("tm_sec", "tm_min", "tm_hour", "tm_mday", "tm_mon", "tm_year")
    text = members(**{n: str(v) for n, v in zip(names, _RTC.unpack(raw), strict=True)})
    return text[:-1] + ", ...}"


def _kinds() -> tuple[dict[int, Format], set[int]]:
    """Give each decoded command's format, and the commands whose argument the kernel fills in."""
    by_name = dict(IOCTLS.pairs)
    names = {part: value for name, value in by_name.items() for part in name.split(" or ")}
    termios, termio = _termios("<4I", 36), _termios("<4H", 18)
    winsize = _structure(_WINSIZE, "ws_row", "ws_col", "ws_xpixel", "ws_ypixel")
    groups: list[tuple[str, Format, bool]] = [
        (NONE, lambda word, ctx: "", False),
        (NUMBER, INT, False),
        (WORD, ULONG, False),
        (INT_FROM, INT_AT, False),
        (INT_INTO, INT_AT, True),
        (UINT_INTO, UINT_AT, True),
        (USHORT_INTO, USHORT_AT, True),
        (LONG_INTO, LONG_AT, True),
        (ULONG_INTO, ULONG_AT, True),
        ("TCGETS TCGETS2 TIOCGLCKTRMIOS", termios, True),
        ("TCSETS TCSETSW TCSETSF TCSETS2 TCSETSW2 TCSETSF2 TIOCSLCKTRMIOS", termios, False),
        ("TCGETA", termio, True),
        ("TCSETA TCSETAW TCSETAF", termio, False),
        ("TIOCGWINSZ", winsize, True),
        ("TIOCSWINSZ", winsize, False),
        ("TIOCMGET", _bits_at(t.MODEM_LINES), True),
        ("TIOCMBIS TIOCMBIC TIOCMSET", _bits_at(t.MODEM_LINES), False),
        ("TIOCSTI", lambda word, ctx: counted(word, 1, ctx), False),
        ("TCXONC", lambda word, ctx: t.FLOW_ACTIONS.value(word), False),
        ("TCFLSH", lambda word, ctx: t.FLUSH_QUEUES.value(word), False),
        ("FS_IOC_GETFLAGS FS_IOC32_GETFLAGS", _bits_at(t.INODE_FLAGS), True),
        ("FS_IOC_SETFLAGS FS_IOC32_SETFLAGS", _bits_at(t.INODE_FLAGS), False),
        ("FS_IOC_GETFSLABEL", _label, True),
        ("FS_IOC_SETFSLABEL", _label, False),
        ("FICLONERANGE", _CLONE_RANGE, False),
        ("RTC_RD_TIME RTC_ALM_READ", _rtc_time, True),
        ("RTC_SET_TIME RTC_ALM_SET", _rtc_time, False),
        ("SIOCGIFCONF", _interfaces, True),
        ("SIOCGIFNAME", _name_request, True),
    ]
    subjects = ["FLAGS", "HWADDR", "SLAVE", *INTERFACE_ADDRESSES, *INTERFACE_NUMBERS]
    for subject in subjects:
        groups.append((f"SIOCGIF{subject}", _interface_request(f"SIOCGIF{subject}"), True))
        groups.append((f"SIOCSIF{subject}", _interface_request(f"SIOCSIF{subject}"), False))
    groups.append(("SIOCSIFNAME", _interface_request("SIOCSIFNAME"), False))
    formats = {names[n]: render for text, render, _ in groups for n in text.split() if n in names}
    filled = {names[n] for text, _, out in groups if out for n in text.split() if n in names}
    return formats, filled


_FORMATS, _FILLED = _kinds()


def IOCTL_COMMAND(word: int, ctx: Ctx) -> str:
    """Write ioctl's command: its name, or what its number is made of."""
    command = unsigned(word)
    name = IOCTLS.names.get(command)
    if name is not None:
        return name
    parts = (command >> 8 & 0xFF, command & 0xFF, command >> 16 & 0x3FFF)
    shown = ", ".join([hexadecimal(part) for part in parts])
    return f"_IOC({t.IOC_DIRECTIONS.value(command >> 30)}, {shown})"


def IOCTL_ARGUMENT(word: int, ctx: Ctx) -> str:
    """Write ioctl's argument, as its command reads it."""
    command = unsigned(ctx.args[1])
    render = _FORMATS.get(command)
    if render is not None:
        return render(word, ctx)
    return address(word) if command >> 8 == SOCKET_COMMANDS else hexadecimal(word)


def ioctl_memory(word: int, ctx: Ctx) -> str:
    """Remember the size of the buffer that SIOCGIFCONF is given."""
    return _ifconf_size(word, ctx) if unsigned(ctx.args[1]) == _SIOCGIFCONF else ""


def ioctl_split(ctx: Ctx) -> int:
    """Say how many of ioctl's parameters print at entry."""
    command = unsigned(ctx.args[1])
    return 3 if command in _FORMATS and command not in _FILLED else 2
