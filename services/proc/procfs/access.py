"""Who owns what in /proc, and who may look (proc(5), ptrace(2) "access mode checking")."""

from __future__ import annotations

from errno import EACCES, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import S_IFDIR, S_IFMT
from services.proc.capabilities import CAP_SYS_PTRACE
from services.proc.procfs.entry import SEARCH, WRITE, Folder, Magic

if TYPE_CHECKING:
    from services.fs.api import Attr, Cred
    from services.proc.procfs.entry import Spot
    from services.proc.task import Process

OPEN_FOLDER = 0o555
"""The mode of directories that stay their process's own even where it is not dumpable."""


def owner(spot: Spot) -> tuple[int, int]:
    """(uid, gid): a process's files are its own, unless it is not dumpable (prctl(2))."""
    process = spot.process
    if process is None or (process.dumpable != 1 and spot.entry.mode != OPEN_FOLDER):
        return 0, 0
    return process.credentials.euid, process.credentials.egid


def permitted(mode: int, uid: int, gid: int, cred: Cred, want: int) -> bool:
    """The permission bits, as for any file (path_resolution(7))."""
    if cred.uid == 0:
        return not want & SEARCH or bool(mode & 0o111) or mode & S_IFMT == S_IFDIR
    if cred.uid == uid:
        bits = mode >> 6
    elif gid == cred.gid or gid in cred.groups:
        bits = mode >> 3
    else:
        bits = mode
    return bits & want == want


def check(spot: Spot, want: int) -> None:
    """EACCES unless the reader may do `want` with the entry."""
    entry, reader = spot.entry, spot.reader
    if entry.system:
        root = reader.process.credentials.euid == 0  # whatever the ids it acts with
        bits = entry.mode >> 6 if root else entry.mode
        if bits & want != want:
            raise PosixError(EACCES)
        return
    if isinstance(entry, Folder) and entry.traced and spot.process is reader.process:
        return  # its own descriptors, even where others own them
    if not permitted(entry.mode, *owner(spot), reader.cred, want):
        raise PosixError(EACCES)


def check_node(attr: Attr, cred: Cred, want: int) -> None:
    """EACCES unless `cred` may do `want` with the file that a magic link leads to."""
    if not permitted(attr.mode, attr.uid, attr.gid, cred, want):
        raise PosixError(EACCES)


def may_trace(reader: Process, subject: Process) -> bool:
    """PTRACE_MODE_READ_FSCREDS: itself, CAP_SYS_PTRACE, or the same user and dumpable."""
    if reader is subject or reader.credentials.can(CAP_SYS_PTRACE):
        return True
    mine, theirs = reader.credentials, subject.credentials
    same = {theirs.ruid, theirs.euid, theirs.suid} == {mine.fsuid} and {
        theirs.rgid,
        theirs.egid,
        theirs.sgid,
    } == {mine.fsgid}
    return same and subject.dumpable == 1


def check_trace(spot: Spot, error: int = EACCES) -> None:
    """The entries that ask for the right to trace."""
    traced = spot.entry.traced or isinstance(spot.entry, Magic)
    if not traced or spot.process is None:
        return
    acting = spot.reader.acting
    if acting is not None and acting.uid == 0:
        return
    if not may_trace(spot.reader.process, spot.process):
        raise PosixError(error)


def check_immutable(spot: Spot, want: int) -> None:
    """EPERM for writing to the directory of a process or thread, which Linux has immutable."""
    if want & WRITE and spot.process is not None and isinstance(spot.entry, Folder):
        parent = spot.parent
        own = parent is not None and (parent.process is None or parent.thread is not spot.thread)
        if own:
            raise PosixError(EPERM)
