"""Path resolution: path_resolution(7), symlink(7), in the guest's name space.

`find` walks to what a path names; `place` to the directory of its last component. Both reply
`Foreign` where the walk enters a volume that is served elsewhere. They raise NeedName and
NeedTarget (core_need) where a store must be asked first.

A walk that leads through directories that are all in memory costs about 1 µs a component; whole
walks are remembered in `Tree.paths`.
"""

from __future__ import annotations

from errno import EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.fs.api import Foreign
from services.fs.core_access import EXECUTE, allowed
from services.fs.core_inode import Dentry, Directory, Link
from services.fs.core_need import NeedFresh, NeedListed, NeedName, NeedTarget

if TYPE_CHECKING:
    from services.fs.api import At, Cred
    from services.fs.core_inode import PathKey
    from services.fs.core_tree import Tree

NAME_MAX = 255
PATH_MAX = 4096
LINKS_MAX = 40


@attrs.frozen
class Place:
    """The last component of a path: `name` in `parent`, which may be searched.

    `name` is b"" where the path is the root itself, or may be b"." or b"..".
    """

    parent: Dentry
    name: bytes
    slash: bool
    """The path ended in a slash: only a directory will do."""

    @property
    def plain(self) -> bool:
        """Whether it is a name that can come and go."""
        return self.name not in (b"", b".", b"..")


def entry(tree: Tree, parent: Dentry, name: bytes) -> Dentry | None:
    """The dentry of a name, not looking under mounts; None where there is no such name."""
    directory = parent.inode
    if not isinstance(directory, Directory):
        raise PosixError(ENOTDIR)
    child = directory.children.get(name)
    if directory.volume.volatile:
        return _confirmed(tree, parent, name, child)
    if child is not None:
        if child.seen_ns < tree.fresh_after:
            raise NeedFresh(parent, name)
        tree.name_hits += 1
        return child if child.inode is not None else None
    if len(name) > NAME_MAX:
        raise PosixError(ENAMETOOLONG)
    if directory.origin is None or not parent.linked:
        return None
    if directory.listed is not None and name not in directory.listed:
        if directory.listed_ns < tree.fresh_after:
            raise NeedListed(parent)
        return None
    tree.name_misses += 1
    raise NeedName(parent, name)


def _confirmed(tree: Tree, parent: Dentry, name: bytes, child: Dentry | None) -> Dentry | None:
    if child is None or child.turn != tree.turn:
        if len(name) > NAME_MAX:
            raise PosixError(ENAMETOOLONG)
        if not parent.linked:
            return None
        tree.name_misses += 1
        raise NeedFresh(parent, name)
    return child if child.inode is not None else None


class Walk:
    """One resolution under way: where it is (`here`) and what is left (`todo`, last first)."""

    __slots__ = ("cred", "fleeting", "here", "links", "root", "slash", "todo", "tree")

    def __init__(self, tree: Tree, root: Dentry, here: Dentry, cred: Cred) -> None:
        self.tree = tree
        self.cred = cred
        self.root = root
        self.here = here
        self.links = 0
        self.slash = False
        """The path ended in a slash: only a directory will do."""
        self.fleeting = False
        """It went up, or through a volume that others change: not to be remembered."""
        self.todo: list[bytes] = []

    def push(self, path: bytes) -> None:
        """Go on with a path, from the root where it is absolute."""
        if path[0] == 0x2F:
            self.here = self.root
        if not self.todo:
            self.slash = self.slash or path[-1] == 0x2F
        parts = [part for part in path.split(b"/") if part]
        parts.reverse()
        self.todo += parts

    def follow(self, link: Link) -> None:
        """Go on with a symbolic link's target; `here` is the directory that it is in."""
        self.links += 1
        if self.links > LINKS_MAX:
            raise PosixError(ELOOP)
        target = link.target
        if target is None:
            raise NeedTarget(link)
        if not target:
            raise PosixError(ENOENT)
        self.push(target)

    def up(self) -> None:
        """`..`: not above the root, and out of volumes at their tops."""
        self.fleeting = True
        here = self.here
        while here is not self.root:
            if here.parent is not None:
                here = here.parent
                break
            covers = here.inode.volume.covers if here.inode is not None else None
            if covers is None:
                break
            here = covers
        self.here = here

    def foreign(self) -> Foreign | None:
        """Whether `here` is served elsewhere; leading `.` and `..` are still walked here."""
        inode = self.here.inode
        if inode is None or inode.volume.foreign is None:
            return None
        todo = self.todo
        while todo and todo[-1] in (b".", b".."):
            if todo.pop() == b"..":
                self.up()
                return None
        rest = b"/".join(reversed(todo)) + (b"/" if self.slash and todo else b"")
        return Foreign(inode.volume.foreign, rest, path_of(self.here, self.root))

    def run(self, keep: int, follow: bool) -> Foreign | None:
        """Walk until `keep` components are left; a link as the last is followed if asked."""
        todo = self.todo
        while True:
            inode = self.here.inode
            if inode is not None and inode.volume.foreign is not None:
                foreign = self.foreign()
                if foreign is not None:
                    return foreign
                continue
            if len(todo) <= keep:
                return None
            if not isinstance(inode, Directory):
                raise PosixError(ENOTDIR if inode is not None else ENOENT)
            if not allowed(inode, EXECUTE, self.cred):
                raise PosixError(EACCES)
            name = todo.pop()
            if name == b".":
                continue
            if name == b"..":
                self.up()
                continue
            if inode.volume.volatile:
                self.fleeting = True
            child = entry(self.tree, self.here, name)
            if child is None:
                raise PosixError(ENOENT)
            self.enter(child, follow)

    def enter(self, child: Dentry, follow: bool) -> None:
        """Step to an entry of `here`: through a link, under a mount."""
        while child.mounted is not None:
            child = child.mounted
        inode = child.inode
        if isinstance(inode, Link) and (follow or self.slash or self.todo):
            self.follow(inode)
        else:
            self.here = child


def begin(tree: Tree, at: At, path: bytes, cred: Cred) -> Walk:
    """A walk along all of a path."""
    if not path:
        raise PosixError(ENOENT)
    if len(path) >= PATH_MAX:
        raise PosixError(ENAMETOOLONG)
    walk = Walk(tree, tree.dentry(at.root), tree.dentry(at.base), cred)
    walk.push(path)
    return walk


def approach(tree: Tree, at: At, path: bytes, cred: Cred) -> Walk:
    """A walk of which only the last component is left, if its directory is easy to know.

    Directories that names are looked up in are remembered with the slash that ends their path.
    """
    cut = path.rfind(b"/") + 1
    name = path[cut:]
    if cut < 2 or not name or name in (b".", b"..") or len(path) >= PATH_MAX:
        return begin(tree, at, path, cred)
    paths = tree.paths.of(cred)
    key: PathKey = (at.root, at.base, path[:cut], True)
    found = paths.get(key)
    if found is not None and found.linked:
        walk = Walk(tree, tree.dentry(at.root), found, cred)
    else:
        walk = begin(tree, at, path[:cut], cred)
        if walk.run(0, follow=True) is not None:
            return begin(tree, at, path, cred)
        if not isinstance(walk.here.inode, Directory):
            raise PosixError(ENOTDIR)
        if not walk.fleeting and walk.here.linked:
            tree.paths.remember(paths, key, walk.here)
        walk.slash = False
    walk.todo.append(name)
    return walk


def find(tree: Tree, at: At, path: bytes, cred: Cred, follow: bool) -> Dentry | Foreign:
    """What a path names, from the path cache where it can be."""
    paths = tree.paths.of(cred)
    key: PathKey = (at.root, at.base, path, follow)
    found = paths.get(key)
    if found is not None and found.linked:
        tree.name_hits += 1
        return found
    walk = approach(tree, at, path, cred)
    foreign = walk.run(0, follow)
    if foreign is not None:
        return foreign
    if walk.slash and not isinstance(walk.here.inode, Directory):
        raise PosixError(ENOTDIR)
    if not walk.fleeting and walk.here.linked:
        tree.paths.remember(paths, key, walk.here)
    return walk.here


def place(tree: Tree, at: At, path: bytes, cred: Cred) -> Place | Foreign:
    """The directory that the last component of a path is in, and that component."""
    walk = approach(tree, at, path, cred)
    foreign = walk.run(1, follow=True)
    return foreign if foreign is not None else placed(walk)


def placed(walk: Walk) -> Place:
    """Where a walk that kept its last component has arrived."""
    here = walk.here
    if walk.todo:
        if not isinstance(here.inode, Directory):
            raise PosixError(ENOTDIR)
        if not allowed(here.inode, EXECUTE, walk.cred):
            raise PosixError(EACCES)
    return Place(here, walk.todo[0] if walk.todo else b"", walk.slash)


def path_of(dentry: Dentry, root: Dentry) -> bytes:
    """The path from `root`, marked as proc(5) and getcwd(2) do."""
    names: list[bytes] = []
    deleted = not dentry.linked
    here = dentry
    reachable = True
    while here is not root:
        if here.parent is not None:
            names.append(here.name)
            here = here.parent
            continue
        covers = here.inode.volume.covers if here.inode is not None else None
        if covers is None:
            reachable = here is root
            if here.name:
                names.append(here.name)
                reachable = True
            break
        here = covers
    path = b"/" + b"/".join(reversed(names))
    if deleted:
        path += b" (deleted)"
    return path if reachable else b"(unreachable)" + path
