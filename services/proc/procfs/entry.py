"""What /proc is made of: the kinds of entry that `tree.py` declares, and a place among them.

An `Entry` says what a name is; a `Spot` is one found by a walk: the entry, the process, thread or
descriptor that it is about, and who looks. Contents are made when they are read, from the kernel's
live state, by the entry's own function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from services.proc.abi import S_IFDIR, S_IFLNK, S_IFREG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.fs.api import Cred
    from services.proc.descriptors import OpenFile
    from services.proc.kernel import Kernel
    from services.proc.task import Process, Thread

READ, WRITE, SEARCH = 4, 2, 1


@attrs.frozen
class Node:
    """A magic link leads to this fs node (the reference is the kernel's)."""

    node: int


@attrs.frozen
class Open:
    """A magic link leads to this open file description."""

    file: OpenFile


@attrs.frozen
class Within:
    """A magic link leads to this path below the mount."""

    rest: bytes


Target = Node | Open | Within


class Family(Protocol):
    """Children that come and go, named by numbers: processes, threads, descriptors."""

    entry: Entry

    def numbers(self, spot: Spot) -> Sequence[int]:
        """Those that are there, ascending."""

    def enter(self, spot: Spot, number: int) -> Spot | None:
        """The child of that number."""


@attrs.frozen(eq=False, kw_only=True)
class Entry:
    """A name in the tree. `traced` asks for the right to trace the process (ptrace(2))."""

    name: bytes = b""
    mode: int
    traced: bool = False
    system: bool = False
    """A sysctl: its mode binds root too."""


@attrs.frozen(eq=False, kw_only=True)
class Text(Entry):
    """A file: `read` makes its content, `write` takes what is written."""

    read: Callable[[Spot], Awaitable[bytes]]
    write: Callable[[Spot, bytes], Awaitable[None]] | None = None


@attrs.frozen(eq=False, kw_only=True)
class Link(Entry):
    """A symbolic link whose text is walked like any other."""

    text: Callable[[Spot], bytes]


@attrs.frozen(eq=False, kw_only=True)
class Magic(Entry):
    """A link that leads to an object; `text` is what readlink(2) shows of it."""

    target: Callable[[Spot], Target]
    text: Callable[[Spot], Awaitable[bytes]]
    bits: Callable[[Spot], int] | None = None
    """Permissions that depend on what it leads to."""


@attrs.frozen(eq=False, kw_only=True)
class Folder(Entry):
    """A directory: declared entries, and a family."""

    entries: list[Entry]
    family: Family | None = None

    def named(self, name: bytes) -> Entry | None:
        """A declared entry."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        return None


KINDS: dict[type[Entry], tuple[int, int]] = {
    Text: (S_IFREG, 8),
    Link: (S_IFLNK, 10),
    Magic: (S_IFLNK, 10),
    Folder: (S_IFDIR, 4),
}
"""Type bits of st_mode, and DT_ of readdir(3)."""


@attrs.frozen
class Reader:
    """Who looks."""

    process: Process
    thread: Thread | None = None
    acting: Cred | None = None
    """With which ids, where not with the process's own (access(2))."""

    @property
    def cred(self) -> Cred:
        """With which ids."""
        return self.acting or self.process.credentials.cred


@attrs.frozen(eq=False)
class Spot:
    """A place in the tree, found by a walk."""

    entry: Entry
    reader: Reader
    parent: Spot | None = None
    name: bytes = b""
    process: Process | None = None
    thread: Thread | None = None
    """Set below task/TID."""
    fd: int | None = None

    @property
    def kernel(self) -> Kernel:
        """The kernel that it is about."""
        return self.reader.process.kernel

    @property
    def subject(self) -> Process:
        """The process that it is about."""
        assert self.process is not None
        return self.process

    @property
    def path(self) -> bytes:
        """Below the mount, without a slash at either end."""
        names: list[bytes] = []
        here: Spot | None = self
        while here is not None and here.parent is not None:
            names.append(here.name)
            here = here.parent
        return b"/".join(reversed(names))

    def child(self, entry: Entry, name: bytes, **about: Any) -> Spot:
        """A place below this one; it is about the same unless `about` says otherwise."""
        return attrs.evolve(self, entry=entry, parent=self, name=name, **about)

    def lookup(self, name: bytes) -> Spot | None:
        """The entry of a name."""
        folder = self.entry
        assert isinstance(folder, Folder)
        entry = folder.named(name)
        if entry is not None:
            return self.child(entry, name)
        if folder.family is not None and name.isdigit() and len(name) <= 10:
            number = int(name)
            if b"%d" % number == name:
                return folder.family.enter(self, number)
        return None
