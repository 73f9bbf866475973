"""The system: names, facts, randomness, reboot."""

from __future__ import annotations

import struct
from errno import EINTR, EINVAL, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.entropy.api import Draw
from services.fs.api import Caches
from services.proc import identity
from services.proc.abi import s32
from services.proc.calls.clock import NS
from services.proc.capabilities import CAP_SYS_ADMIN, CAP_SYS_BOOT
from services.proc.table import syscall
from services.vm.api import Frames

if TYPE_CHECKING:
    from services.proc.task import Thread


@syscall(63, "uname")
async def sys_uname(t: Thread, where: int) -> int:
    """uname(2)."""
    fields = identity.utsname(t.kernel, t.process.personality)
    await t.copyout(where, b"".join(field.ljust(65, b"\0") for field in fields))
    return 0


async def _read_name(t: Thread, name: int, length: int) -> bytes:
    """EPERM, EINVAL, EFAULT."""
    if not t.process.credentials.can(CAP_SYS_ADMIN):
        raise PosixError(EPERM)
    if not 0 <= s32(length) <= NAME_BYTES:
        raise PosixError(EINVAL)
    return await t.copyin(name, s32(length)) if length else b""


@syscall(170, "sethostname")
async def sys_sethostname(t: Thread, name: int, length: int) -> int:
    """sethostname(2)."""
    t.kernel.hostname = await _read_name(t, name, length)
    return 0


@syscall(171, "setdomainname")
async def sys_setdomainname(t: Thread, name: int, length: int) -> int:
    """setdomainname(2)."""
    t.kernel.domainname = await _read_name(t, name, length)
    return 0


NAME_BYTES = 64
LOAD_SCALE = 1 << 16


@syscall(99, "sysinfo")
async def sys_sysinfo(t: Thread, where: int) -> int:
    """sysinfo(2)."""
    kernel = t.kernel
    frames = await kernel.vm.call(Frames())
    caches = await kernel.fs.call(Caches())
    uptime = await kernel.timers.now() // NS
    averages = getattr(kernel.extra.get("load"), "averages", (0.0, 0.0, 0.0))
    loads = [int(average * LOAD_SCALE) for average in averages]
    image = struct.pack(
        "<qQQQQQQQQQHxxxxxxQQI4x", uptime, *loads, frames.total * 4096, frames.free * 4096, 0,
        caches.pages * 4096, 0, 0, len(kernel.threads), 0, 0, 1,
    )  # fmt: skip
    await t.copyout(where, image)
    return 0


GRND_KNOWN = 7


@syscall(318, "getrandom")
async def sys_getrandom(t: Thread, buffer: int, count: int, flags: int) -> int:
    """getrandom(2)."""
    if flags & 0xFFFF_FFFF & ~GRND_KNOWN or flags & 6 == 6:
        raise PosixError(EINVAL)
    count = min(count, 0x1FF_FFFF)
    done = 0
    while done < count:
        piece = min(count - done, 1 << 16)
        try:
            await t.copyout(buffer + done, await t.kernel.entropy.call(Draw(piece)))
        except PosixError:
            if done:
                return done
            raise
        done += piece
    return done


LINUX_REBOOT = {0x4321_FEDC: "power off", 0x0123_4567: "restart", 0xCDEF_0123: "halt"}


@syscall(169, "reboot")
def sys_reboot(t: Thread, magic: int, magic2: int, command: int, argument: int) -> int:
    """reboot(2): every way ends the kernel, which ends the `hardtack` command."""
    if not t.process.credentials.can(CAP_SYS_BOOT):
        raise PosixError(EPERM)
    if magic & 0xFFFF_FFFF != 0xFEE1_DEAD or magic2 not in (0x2812_1969, 0x0512_1996):
        raise PosixError(EINVAL)
    if command & 0xFFFF_FFFF in (0, 0x89AB_CDEF):
        return 0
    if command & 0xFFFF_FFFF not in LINUX_REBOOT:
        raise PosixError(EINVAL)
    t.kernel.extra["shutdown"](0)
    return 0


@syscall(219, "restart_syscall", bound=0)
def sys_restart_syscall(t: Thread) -> int:
    """restart_syscall(2): calls repeat themselves, so nothing is ever left to it."""
    raise PosixError(EINTR)
