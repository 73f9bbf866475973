"""Ancillary data to and from user memory: struct cmsghdr (cmsg(3), recvmsg(2))."""

from __future__ import annotations

import struct
from errno import EINVAL, ENOBUFS
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.descriptors import drop
from services.proc.files.socket import MSG_CTRUNC, SCM_RIGHTS, SOL_SOCKET

if TYPE_CHECKING:
    from services.proc.files.socket import ControlMessage, Received
    from services.proc.task import Thread

HEAD_BYTES, INT_BYTES = 16, 4
OPTMEM_BYTES = 128 << 10
"""net.core.optmem_max, which bounds what a sender may attach."""


async def control_in(t: Thread, where: int, size: int) -> list[ControlMessage]:
    """Read a control buffer; EFAULT, EINVAL, ENOBUFS."""
    if size > OPTMEM_BYTES:
        raise PosixError(ENOBUFS)
    raw, at = await t.copyin(where, size), 0
    messages: list[ControlMessage] = []
    while at + HEAD_BYTES <= size:
        length, level, kind = struct.unpack_from("<Qii", raw, at)
        if not HEAD_BYTES <= length <= size - at:
            raise PosixError(EINVAL)
        messages.append((level, kind, raw[at + HEAD_BYTES : at + length]))
        at += (length + 7) & ~7
    return messages


class ControlOut:
    """The receiver's control buffer as it fills; what cannot be written is MSG_CTRUNC."""

    __slots__ = ("_at", "_room", "_t", "flags", "used")

    def __init__(self, t: Thread, where: int, room: int) -> None:
        self._t = t
        self._at = where
        self._room = room if where else 0
        self.used = 0
        self.flags = 0

    async def tell(self, received: Received, cloexec: bool) -> None:
        """Write all that came along, descriptors before what else a family adds after them."""
        for level, kind, body in received.control:
            await self._put(level, kind, body)
        if received.files:
            await self._put_files(received, cloexec)

    async def _put(self, level: int, kind: int, body: bytes) -> None:
        """One message, cut to the room; it takes its aligned size."""
        room = self._room
        if room < HEAD_BYTES:
            self.flags |= MSG_CTRUNC
            return
        length = HEAD_BYTES + len(body)
        if length > room:
            self.flags |= MSG_CTRUNC
            length = room
        image = struct.pack("<Qii", length, level, kind) + body
        try:
            await self._t.copyout(self._at, image[:length])
        except PosixError:
            return  # Linux ignores that too
        self._take(HEAD_BYTES + len(body))

    def _take(self, length: int) -> None:
        size = min((length + 7) & ~7, self._room)
        self._at += size
        self._room -= size
        self.used += size

    async def _put_files(self, received: Received, cloexec: bool) -> None:
        """SCM_RIGHTS: descriptors with no room, or no number left, are dropped."""
        t, files, at = self._t, received.files, self._at + HEAD_BYTES
        fits = max(self._room - HEAD_BYTES, 0) // INT_BYTES
        done = 0
        try:
            for file in files[:fits]:
                await t.extents(at, INT_BYTES, True)
                number = t.install(file, cloexec)
                await t.copyout(at, number.to_bytes(INT_BYTES, "little"))
                at, done = at + INT_BYTES, done + 1
        except PosixError:
            pass  # EMFILE, EFAULT: the rest is lost
        finally:
            received.files = []
            for file in files:
                await drop(file, t)  # the message's hold; the descriptors have their own
        if done < len(files):
            self.flags |= MSG_CTRUNC
        if done:
            length = HEAD_BYTES + INT_BYTES * done
            await t.copyout(self._at, struct.pack("<Qii", length, SOL_SOCKET, SCM_RIGHTS))
            self._take(length)
