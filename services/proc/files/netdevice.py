"""netdevice(7): the ioctls on interfaces, which any socket takes, whatever its family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.api import Configure

if TYPE_CHECKING:
    from services.proc.task import Thread

SIOCGIFCONF = 0x8912
SIOC_FIRST, SIOC_LAST, IFREQ_BYTES, IFCONF_BYTES = 0x8910, 0x8970, 40, 16


def on_device(command: int) -> bool:
    """Whether an ioctl is about interfaces or routes."""
    return SIOC_FIRST <= command <= SIOC_LAST


async def device_ioctl(thread: Thread, command: int, argument: int) -> int:
    """One of those, on a struct ifreq (or rtentry, ifconf) at `argument`."""
    net = thread.kernel.net
    if command == SIOCGIFCONF:
        return await _interfaces(thread, argument)
    given = await thread.copyin(argument, IFREQ_BYTES)
    privileged = thread.process.credentials.euid == 0
    await thread.copyout(argument, await net.call(Configure(command, given, privileged)))
    return 0


async def _interfaces(thread: Thread, argument: int) -> int:
    """SIOCGIFCONF: struct ifconf, a length and a pointer; without a pointer only the length."""
    given = await thread.copyin(argument, IFCONF_BYTES)
    room = int.from_bytes(given[:4], "little", signed=True)
    where = int.from_bytes(given[8:16], "little")
    rows = await thread.kernel.net.call(Configure(SIOCGIFCONF, b"", False))
    if where:
        rows = rows[: max(room, 0) // IFREQ_BYTES * IFREQ_BYTES]
        await thread.copyout(where, rows)
    await thread.copyout(argument, len(rows).to_bytes(4, "little"))
    return 0
