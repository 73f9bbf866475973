"""Ancillary data of AF_UNIX messages (cmsg(3), unix(7)): descriptors and credentials."""

from __future__ import annotations

import struct
from errno import EINVAL, ENOBUFS, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.descriptors import drop

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.files.unix_core import Received, Sender
    from services.proc.task import Thread

SOL_SOCKET, SCM_RIGHTS, SCM_CREDENTIALS = 1, 1, 2
HEAD_BYTES, INT_BYTES, CREDENTIALS_BYTES = 16, 4, 12
MAX_RIGHTS = 253
MAX_CONTROL_BYTES = 1 << 16


class Control:
    """What the sender attached: files (no holders taken yet), and whom it says it is."""

    __slots__ = ("files", "sender")

    def __init__(self) -> None:
        self.files: list[OpenFile] = []
        self.sender: Sender | None = None


async def parse_control(t: Thread, vaddr: int, size: int) -> Control:
    """Read a control buffer; EINVAL, EBADF, EPERM, ENOBUFS."""
    if size > MAX_CONTROL_BYTES:
        raise PosixError(ENOBUFS)
    control, raw, at = Control(), await t.copyin(vaddr, size), 0
    while at + HEAD_BYTES <= size:
        length, level, kind = struct.unpack_from("<Qii", raw, at)
        if not HEAD_BYTES <= length <= size - at:
            raise PosixError(EINVAL)
        if level == SOL_SOCKET:
            body = raw[at + HEAD_BYTES : at + length]
            if kind == SCM_RIGHTS:
                count = len(body) // INT_BYTES
                if len(control.files) + count > MAX_RIGHTS:
                    raise PosixError(EINVAL)
                control.files += [
                    t.file(fd) for (fd,) in struct.iter_unpack("<I", body[: 4 * count])
                ]
            elif kind == SCM_CREDENTIALS:
                control.sender = _claimed(t, body)
            else:
                raise PosixError(EINVAL)
        at += (length + 7) & ~7
    return control


def _claimed(t: Thread, body: bytes) -> Sender:
    """SCM_CREDENTIALS: one's own ids; root may claim any."""
    if len(body) != CREDENTIALS_BYTES:
        raise PosixError(EINVAL)
    pid, uid, gid = struct.unpack("<iII", body)
    mine = t.process.credentials
    own = (
        pid == t.process.pid
        and uid in (mine.ruid, mine.euid, mine.suid)
        and gid in (mine.rgid, mine.egid, mine.sgid)
    )
    if not own and mine.euid:
        raise PosixError(EPERM)
    return pid, uid, gid


async def tell_control(
    t: Thread, received: Received, vaddr: int, room: int, cloexec: bool, credentials: bool
) -> tuple[int, bool]:
    """Write what came along into the receiver's buffer: (bytes used, whether it was cut short).

    Descriptors that have no room, or no number left, are dropped.
    """
    used, cut = 0, False
    if credentials:
        sender = received.sender or (0, 65534, 65534)
        used, cut = await _put(t, vaddr, room, SCM_CREDENTIALS, struct.pack("<iII", *sender))
    files = received.files
    if not files:
        return used, cut
    fits = max(room - used - HEAD_BYTES, 0) // INT_BYTES
    numbers: list[int] = []
    for file in files[:fits]:
        try:
            numbers.append(t.install(file, cloexec))
        except PosixError:
            break
    for file in files:
        await drop(file, t)  # the message's hold; the descriptors have their own
    cut = cut or len(numbers) < len(files)
    if numbers:
        body = struct.pack(f"<{len(numbers)}i", *numbers)
        more, _ = await _put(t, vaddr + used, room - used, SCM_RIGHTS, body)
        used += more
    return used, cut


async def _put(t: Thread, vaddr: int, room: int, kind: int, body: bytes) -> tuple[int, bool]:
    """One control message, cut to the room; it takes its aligned size."""
    if room < HEAD_BYTES:
        return 0, True
    length = HEAD_BYTES + len(body)
    cut = length > room
    length = min(length, room)
    image = struct.pack("<Qii", length, SOL_SOCKET, kind) + body
    await t.copyout(vaddr, image[:length])
    return min((length + 7) & ~7, room), cut
