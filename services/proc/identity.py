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
DOMAIN = b"(none)"


def utsname(kernel: Kernel) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes]:
    """The six fields of struct utsname: uname(2)."""
    return SYSNAME, kernel.hostname, RELEASE, VERSION, MACHINE, DOMAIN
