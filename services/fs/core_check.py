"""Is the tree whole? Asked when a new incarnation of the service takes it up, and by tests.

Walks everything once; raises KernelBug at the first invariant (core_inode, core_frames) that does
not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import KernelBug
from services.fs.core_inode import Dentry, Directory, File, Inode

if TYPE_CHECKING:
    from services.fs.core_tree import Tree
    from services.fs.core_volume import Volume


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise KernelBug(f"fs: {what}")


def check(tree: Tree) -> None:
    """Raise KernelBug unless every name, node, page and account is as it should be."""
    inodes: dict[Inode, None] = {}
    names = 0
    todo = [volume.root for volume in tree.volumes.values()]
    while todo:
        dentry = todo.pop()
        names += 1
        _require(dentry.linked, f"{dentry!r} is in the tree and not linked")
        inode = dentry.inode
        if inode is None:
            continue
        inodes[inode] = None
        _require(dentry in inode.dentries, f"{inode!r} does not know {dentry!r}")
        if isinstance(inode, Directory):
            todo.extend(_children(dentry, inode))
    _require(names == tree.names, f"{names} names, {tree.names} counted")
    for node, dentry in tree.nodes.items():
        _require(dentry.node == node and dentry.refs > 0, f"node {node} is {dentry!r}")
        if dentry.inode is not None:
            inodes[dentry.inode] = None
    for volume in tree.volumes.values():
        inodes.update(dict.fromkeys(volume.keys))
    _check_pages(tree, [inode for inode in inodes if isinstance(inode, File)])


def _children(parent: Dentry, directory: Directory) -> list[Dentry]:
    for name, child in directory.children.items():
        _require(
            child.name == name and child.parent is parent, f"{child!r} is misplaced in {parent!r}"
        )
    return list(directory.children.values())


def _check_pages(tree: Tree, files: list[File]) -> None:
    frames = tree.frames
    seen: set[int] = set()
    used: dict[Volume, int] = {}
    for file in files:
        held = [pfn for pfn in file.pages.values() if pfn]
        _require(seen.isdisjoint(held), f"{file!r} shares a frame with another file")
        seen.update(held)
        _require(len(set(held)) == len(held), f"{file!r} has a frame twice")
        _require(file.dirty <= file.pages.keys(), f"{file!r} has dirty pages that are not there")
        kept = len(file.dirty) if file.origin is not None else len(file.pages)
        used[file.volume] = used.get(file.volume, 0) + kept
    _require(len(seen) == frames.cached, f"{len(seen)} frames cached, {frames.cached} counted")
    _require(seen.isdisjoint(frames.free), "a free frame is in a file")
    _require(sum(used.values()) == frames.kept, "pages in memory only are miscounted")
    for volume, count in used.items():
        _require(volume.used_pages == count, f"volume {volume.id} miscounts its pages")
