"""What the kernel says that it is: uname(2), /proc/version, /proc/sys/kernel.

The release names the Linux interface that programs may count on, as they look at nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.proc.kernel import Kernel

SYSNAME = b"Linux"
RELEASE = b"6.1.0-hardtack"
VERSION = b"#1 SMP Hardtack 0.1.0"
MACHINE = b"x86_64"
PER_LINUX32, PER_MASK, UNAME26 = 0x0008, 0x00FF, 0x0020000
"""Personalities that are told something else (personality(2))."""


def utsname(
    kernel: Kernel, personality: int = 0
) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes]:
    """The six fields of struct utsname: uname(2)."""
    release = b"2.6.60" if personality & UNAME26 else RELEASE
    machine = b"i686" if personality & PER_MASK == PER_LINUX32 else MACHINE
    return SYSNAME, kernel.hostname, release, VERSION, machine, kernel.domainname
