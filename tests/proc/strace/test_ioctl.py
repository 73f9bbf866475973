"""Do ioctl's commands and arguments print as strace prints them?"""

from __future__ import annotations

import struct

import pytest

from services.proc.strace.tables.ioctls import IOCTLS

from .oracle import Arena, Call, check, needs_strace

pytestmark = needs_strace

ENOTTY = -25
PLAINER = """
    BLKDISCARD BLKPG BLKSECDISCARD BLKZEROOUT FIDEDUPERANGE FITRIM FS_IOC_FIEMAP FS_IOC_FSGETXATTR
    FS_IOC_FSSETXATTR GIO_CMAP GIO_FONT GIO_FONTX GIO_SCRNMAP GIO_UNIMAP GIO_UNISCRNMAP HDIO_GETGEO
    HDIO_OBSOLETE_IDENTITY KDFONTOP KDGETKEYCODE KDGETLED KDGETMODE KDGKBDIACR KDGKBDIACRUC KDGKBENT
    KDGKBLED KDGKBMETA KDGKBMODE KDGKBSENT KDGKBTYPE KDKBDREP KDMKTONE KDSETKEYCODE KDSETLED
    KDSETMODE KDSIGACCEPT KDSKBDIACR KDSKBDIACRUC KDSKBENT KDSKBLED KDSKBMETA KDSKBMODE KDSKBSENT
    KIOCSOUND LOOP_CONFIGURE LOOP_GET_STATUS LOOP_GET_STATUS64 LOOP_SET_STATUS LOOP_SET_STATUS64
    PIO_CMAP PIO_FONT PIO_FONTX PIO_SCRNMAP PIO_UNIMAP PIO_UNIMAPCLR PIO_UNISCRNMAP RNDADDENTROPY
    RTC_PARAM_GET RTC_PARAM_SET RTC_PLL_GET RTC_PLL_SET RTC_VL_READ RTC_WKALM_RD RTC_WKALM_SET
    SIOCADDMULTI SIOCBRADDBR SIOCBRADDIF SIOCBRDELBR SIOCBRDELIF SIOCDELMULTI SIOCDEVPRIVATE
    SIOCGIFMAP SIOCGSTAMPNS_NEW SIOCGSTAMP_NEW SIOCPROTOPRIVATE SIOCSIFHWBROADCAST SIOCSIFMAP
"""
COMMANDS = [v for name, v in IOCTLS.pairs if name.rpartition(" or ")[2] not in PLAINER.split()]
TERMIOS = struct.pack("<IIIIB19s", 0x500, 5, 0xBF, 0x8A3B, 0, b"\3\x1c\x7f\x15\4").ljust(60, b"\0")
CONTENTS = {
    "terminal": TERMIOS,
    "all modes": b"\xff" * 60,
    "numbers": struct.pack("<20I", *range(5, 25)),
    "interface": b"eth0".ljust(16, b"\0") + struct.pack("<HH4s16x", 2, 0, b"\x0a\0\0\1"),
    "hardware": b"lo".ljust(16, b"\0") + struct.pack("<H6s16x", 772, b"\1\2\3\4\5\6"),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("result", [0, ENOTTY])
def test_every_command(content: str, result: int) -> None:
    arena = Arena()
    where = arena.put(CONTENTS[content] + bytes(300))
    check(arena, result, *[("ioctl", 3, command, where) for command in COMMANDS])


def test_commands_without_memory_or_name() -> None:
    for word in (0, 5, -1):
        check(Arena(), 0, *[("ioctl", 3, command, word) for command in COMMANDS])
    unknown = (0, 0x5400, 0xDEADBEEF, 0x4004FFFF, 0x12345, 0xFFFFFFFF)
    check(Arena(), 0, *[("ioctl", 3, command, 7) for command in unknown])


def test_lists_of_interfaces() -> None:
    arena = Arena()
    request = b"lo".ljust(16, b"\0") + struct.pack("<HH4s16x", 2, 0, b"\x7f\0\0\1")
    requests = arena.put(request * 2)
    call: list[Call] = [
        ("ioctl", 3, 0x8912, arena.words("iiQ", size, 0, requests)) for size in (80, 40, 41)
    ]
    check(arena, 0, *call, ("ioctl", 3, 0x8912, arena.words("iiQ", 80, 0, 0)))
    check(arena, ENOTTY, *call)
    check(arena, 0, call[1], poke=(3, struct.pack("<i", 80)))
