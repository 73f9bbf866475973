"""What travels with a message: descriptors and credentials (unix(7), SCM_RIGHTS).

A `Parcel` is the descriptors of one message; it holds its files. A socket whose every holder is a
parcel can be reached only by receiving from another socket, and perhaps by nobody: such cycles are
found when the last holder outside goes (`forsaken`), by asking whether any chain of inboxes leads
back to a socket that somebody has open.
"""

from __future__ import annotations

import struct
from errno import EINVAL, EPERM, ESRCH, ETOOMANYREFS
from typing import TYPE_CHECKING

from bus.census import EMPTY_LIST
from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.proc.abi import RLIMIT_NOFILE
from services.proc.descriptors import drop
from services.proc.files.socket import SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET, Socket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.proc.descriptors import OpenFile
    from services.proc.files.socket import ControlMessage
    from services.proc.files.unix.endpoint import UnixSocket
    from services.proc.files.unix.messages import Message, Sender
    from services.proc.files.unix.registry import Registry
    from services.proc.task import Credentials, Thread

MAX_RIGHTS, INT_BYTES, CREDENTIALS_BYTES = 253, 4, 12
NOBODY: Sender = (0, 65534, 65534)
"""The credentials of a message that was sent when nobody asked for them."""


PARCEL = charge_kind("proc", "passed descriptors")


class Parcel:
    """Descriptors in flight, each with a holder; charged to a user (RLIMIT_NOFILE)."""

    __slots__ = ("_charged", "files", "receiver", "uid")

    def __init__(self, files: list[OpenFile], uid: int) -> None:
        PARCEL.made()
        self._charged = PARCEL.resized(EMPTY_LIST, files)
        self.files = files
        self.uid = uid
        self.receiver: UnixSocket | None = None
        """In whose inbox it is, once it is sent."""

    def __del__(self) -> None:
        PARCEL.grew(EMPTY_LIST - self._charged)
        PARCEL.freed()


def sender_of(thread: Thread) -> Sender:
    """The credentials that a message of `thread` carries."""
    credentials = thread.process.credentials
    return thread.process.pid, credentials.ruid, credentials.rgid


def read_control(
    thread: Thread, control: Sequence[ControlMessage]
) -> tuple[Parcel | None, Sender | None]:
    """Descriptors and claimed credentials; EBADF, EINVAL, EPERM, ESRCH."""
    files: list[OpenFile] = []
    sender: Sender | None = None
    for level, kind, body in control:
        if level != SOL_SOCKET:
            continue
        if kind == SCM_RIGHTS:
            count = len(body) // INT_BYTES
            if len(files) + count > MAX_RIGHTS:
                raise PosixError(EINVAL)
            numbers = struct.iter_unpack("<I", body[: INT_BYTES * count])
            files += [thread.file(number) for (number,) in numbers]
        elif kind == SCM_CREDENTIALS:
            sender = _claimed(thread, body)
        else:
            raise PosixError(EINVAL)
    if not files:
        return None, sender
    for file in files:
        file.holders += 1
    return Parcel(files, thread.process.credentials.ruid), sender


def _claimed(thread: Thread, body: bytes) -> Sender:
    """SCM_CREDENTIALS: one's own ids; root may claim any, of a process that exists."""
    if len(body) != CREDENTIALS_BYTES:
        raise PosixError(EINVAL)
    pid, uid, gid = struct.unpack("<iII", body)
    mine = thread.process.credentials
    own = (
        pid == thread.process.pid
        and uid in (mine.ruid, mine.euid, mine.suid)
        and gid in (mine.rgid, mine.egid, mine.sgid)
    )
    if not own and mine.euid:
        raise PosixError(EPERM)
    if pid not in thread.kernel.processes and pid not in thread.kernel.threads:
        raise PosixError(ESRCH)
    return pid, uid, gid


def check_user(registry: Registry, thread: Thread, parcel: Parcel) -> None:
    """ETOOMANYREFS where a user has more in flight than it may have open; root may."""
    limit = thread.process.limits[RLIMIT_NOFILE][0]
    credentials: Credentials = thread.process.credentials
    if registry.users.get(parcel.uid, 0) > limit and credentials.euid:
        raise PosixError(ETOOMANYREFS)


def launch(registry: Registry, parcel: Parcel, receiver: UnixSocket) -> None:
    """The parcel is in an inbox from now on."""
    parcel.receiver = receiver
    registry.parcels[parcel] = None
    registry.users[parcel.uid] = registry.users.get(parcel.uid, 0) + len(parcel.files)
    for file in parcel.files:
        if isinstance(file, Socket):
            file.parcels += 1


def land(registry: Registry, parcel: Parcel) -> list[OpenFile]:
    """It is taken out; the files' holders are the caller's."""
    del registry.parcels[parcel]
    registry.users[parcel.uid] -= len(parcel.files)
    if not registry.users[parcel.uid]:
        del registry.users[parcel.uid]
    for file in parcel.files:
        if isinstance(file, Socket):
            file.parcels -= 1
    return parcel.files


async def discard(registry: Registry, messages: Sequence[Message], thread: Thread | None) -> None:
    """Nobody will receive these any more: they are free, and what they carry is dropped."""
    files: list[OpenFile] = []
    for message in messages:
        message.source.freed(message.charged)
        if message.parcel is not None:
            files += land(registry, message.parcel)
            message.parcel = None
    for file in files:
        await drop(file, thread)


# Sockets that only messages hold -------------------------------------------------------------


def reachable(registry: Registry, socket: UnixSocket, seen: dict[UnixSocket, None]) -> bool:
    """Whether a chain of inboxes leads from a socket that somebody has open to this one.

    `seen` gathers the sockets on the way; if the answer is no, all of them are lost.
    """
    seen[socket] = None
    waiting = [socket]
    while waiting:
        wanted = waiting.pop()
        for parcel in reversed(registry.parcels):
            if wanted not in parcel.files:
                continue
            owner = parcel.receiver
            assert owner is not None
            owner = owner.listener or owner
            if owner.holders > owner.parcels:
                return True
            if owner not in seen:
                seen[owner] = None
                waiting.append(owner)
    return False


async def forsaken(registry: Registry, socket: UnixSocket, thread: Thread | None) -> None:
    """Every holder of `socket` is a parcel now: if nobody can receive it, free what is lost."""
    lost: dict[UnixSocket, None] = {}
    if reachable(registry, socket, lost):
        return
    messages: list[Message] = []
    for member in lost:
        for owner in (member, *member.pending):
            messages += owner.inbox
            owner.inbox.clear()
    await discard(registry, messages, thread)
