"""netdevice(7): ioctls about interfaces, which a program may put to a socket of any family."""

from __future__ import annotations

from errno import ENOTTY
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.api import Configure

if TYPE_CHECKING:
    from services.proc.task import Thread

AF_INET, SIOCGIFCONF = 2, 0x8912
FIRST, LAST = 0x890B, 0x8970
IFREQ_BYTES, IFCONF_BYTES = 40, 16
ROUTE_BYTES, ARP_BYTES = 120, 68
"""struct rtentry, struct arpreq."""
SIZES = {
    0x890B: ROUTE_BYTES, 0x890C: ROUTE_BYTES,
    0x8953: ARP_BYTES, 0x8954: ARP_BYTES, 0x8955: ARP_BYTES,
}  # fmt: skip


INET_ONLY = frozenset((*range(0x8915, 0x891D), *SIZES))
"""About addresses, routes and ARP: of AF_INET alone, as Linux keeps them there."""


async def ioctl(thread: Thread, family: int, command: int, argument: int) -> int:
    """One of SIOC..., answered by net. EFAULT, ENOTTY, and what `Configure` raises."""
    net = thread.kernel.net
    if command in INET_ONLY and family != AF_INET:
        raise PosixError(ENOTTY)
    if command == SIOCGIFCONF:
        return await _all_interfaces(thread, argument)
    given = await thread.copyin(argument, SIZES.get(command, IFREQ_BYTES))
    privileged = thread.process.credentials.euid == 0
    answer = await net.call(Configure(command, given, privileged))
    if answer:
        await thread.copyout(argument, answer)
    return 0


async def _all_interfaces(thread: Thread, argument: int) -> int:
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
