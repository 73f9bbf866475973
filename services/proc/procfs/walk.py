"""Path resolution inside /proc, and out of it again (path_resolution(7), proc(5)).

A walk ends at a `Spot`, at what a magic link as the last component leads to (`Arrived`), or, where
it leaves /proc in the middle, in a `Redirect`: fs goes on from there.
"""

from __future__ import annotations

from errno import ELOOP, ENOENT, ENOTDIR
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.fs.api import At
from services.proc.procfs.access import check, check_trace
from services.proc.procfs.entry import SEARCH, Folder, Link, Magic, Node, Open, Spot, Within

if TYPE_CHECKING:
    from services.fs.api import Foreign

LINKS_MAX = 40


@attrs.frozen
class Redirect:
    """The path goes on outside: take `path` from `at` (no reference comes with it)."""

    at: At
    path: bytes


@attrs.frozen
class Arrived:
    """A magic link, followed as the last component."""

    link: Spot
    target: Node | Open


def split(path: bytes) -> list[bytes]:
    """Components, last first."""
    parts = [part for part in path.split(b"/") if part]
    parts.reverse()
    return parts


class Walk:
    """One resolution of what is left of a path at the mount."""

    def __init__(self, top: Spot, foreign: Foreign) -> None:
        self.top = self.here = top
        self.mount_path = foreign.mount_path
        self.todo = split(foreign.rest)
        self.slash = foreign.rest.endswith(b"/")
        self.links = 0

    def _at(self, base: int | None = None) -> At:
        directories = self.top.reader.process.directories
        assert directories is not None
        return At(directories.root, directories.root if base is None else base)

    def _left(self) -> bytes:
        return b"/".join(reversed(self.todo)) + (b"/" if self.slash and self.todo else b"")

    def run(self, follow: bool) -> Spot | Arrived | Redirect:
        """Walk to the end; a link as the last component is followed if asked."""
        while self.todo:
            name = self.todo.pop()
            if not isinstance(self.here.entry, Folder):
                raise PosixError(ENOTDIR)
            check(self.here, SEARCH)
            if name == b".":
                continue
            if name == b"..":
                if self.here.parent is None:
                    return Redirect(self._at(), self.mount_path + b"/../" + self._left())
                self.here = self.here.parent
                continue
            child = self.here.lookup(name)
            if child is None:
                raise PosixError(ENOENT)
            if not self.todo and not self.slash and not follow:
                self.here = child
                break
            outcome = self._step(child)
            if outcome is not None:
                return outcome
        if self.slash and not isinstance(self.here.entry, Folder):
            raise PosixError(ENOTDIR)
        return self.here

    def _step(self, child: Spot) -> Arrived | Redirect | None:
        """Go to an entry, through links."""
        entry = child.entry
        if isinstance(entry, Link):
            self._count_link()
            self.todo += split(entry.text(child))
        elif isinstance(entry, Magic):
            self._count_link()
            check_trace(child)
            return self._magic(child, entry.target(child))
        else:
            self.here = child
        return None

    def _magic(self, child: Spot, target: Node | Open | Within) -> Arrived | Redirect | None:
        within = getattr(target.file, "within", None) if isinstance(target, Open) else None
        if isinstance(target, Within):
            within = target.rest
        if within is not None:
            self.here = self.top
            self.todo += split(within)
            return None
        assert not isinstance(target, Within)
        if not self.todo and not self.slash:
            return Arrived(child, target)
        node = target.node if isinstance(target, Node) else target.file.node()
        if node is None:
            raise PosixError(ENOTDIR)
        return Redirect(self._at(node), self._left() or b".")

    def _count_link(self) -> None:
        self.links += 1
        if self.links > LINKS_MAX:
            raise PosixError(ELOOP)
