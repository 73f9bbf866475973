"""What is done before the power goes, and what must be there afterwards.

A workload is a sequence of operations on a small tree. All of one and of two operations are swept
(CrashMonkey: most bugs need no more than three), each followed by one that persists; longer ones
are drawn by chance. The model (`Model`) is the whole truth: a dictionary of nodes.

The promise is that of a journal whose every system call is a transaction, in order: what is
recovered is the tree as it was after some operation that is not before the last that persisted.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 4096


@attrs.frozen
class Op:
    """`kind` is a method of `Volume`."""

    kind: str
    args: tuple[str | int | bytes, ...] = ()

    def __str__(self) -> str:
        shown = (f"{len(one)} bytes" if isinstance(one, bytes) else str(one) for one in self.args)
        return f"{self.kind}({', '.join(shown)})"


PERSISTING = frozenset({"fsync", "sync"})

Tree = dict[str, tuple[str, bytes, int]]
"""By path: kind (d, f or l), content, and which of the paths with this number are one file."""


class Volume(Protocol):
    """A file system under test. Every method is a system call of its name."""

    def mkdir(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def create(self, path: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def link(self, old: str, new: str) -> None: ...
    def symlink(self, path: str, target: bytes) -> None: ...
    def rename(self, old: str, new: str) -> None: ...
    def write(self, path: str, offset: int, data: bytes) -> None: ...
    def truncate(self, path: str, length: int) -> None: ...
    def fsync(self, path: str) -> None: ...
    def sync(self) -> None: ...

    def tree(self) -> Tree:
        """All that is in it (lost+found aside)."""


@attrs.define(eq=False)
class _Node:
    kind: str
    content: bytes = b""


class Refused(Exception):
    """The operation makes no sense here: no workload."""


class Model:
    """The `Volume` that needs no disk."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {"/": _Node("d")}

    def _place(self, path: str) -> None:
        parent = path.rpartition("/")[0] or "/"
        if path in self._nodes or parent not in self._nodes or self._nodes[parent].kind != "d":
            raise Refused

    def _get(self, path: str, kinds: str) -> _Node:
        node = self._nodes.get(path)
        if node is None or node.kind not in kinds or path == "/":
            raise Refused
        return node

    def _below(self, path: str) -> list[str]:
        return [one for one in self._nodes if one.startswith(path.rstrip("/") + "/")]

    def mkdir(self, path: str) -> None:
        """mkdir(2)."""
        self._place(path)
        self._nodes[path] = _Node("d")

    def rmdir(self, path: str) -> None:
        """rmdir(2)."""
        self._get(path, "d")
        if self._below(path):
            raise Refused
        del self._nodes[path]

    def create(self, path: str) -> None:
        """open(2) with O_CREAT and O_EXCL."""
        self._place(path)
        self._nodes[path] = _Node("f")

    def unlink(self, path: str) -> None:
        """unlink(2)."""
        self._get(path, "fl")
        del self._nodes[path]

    def link(self, old: str, new: str) -> None:
        """link(2)."""
        node = self._get(old, "f")
        self._place(new)
        self._nodes[new] = node

    def symlink(self, path: str, target: bytes) -> None:
        """symlink(2)."""
        self._place(path)
        self._nodes[path] = _Node("l", target)

    def rename(self, old: str, new: str) -> None:
        """rename(2)."""
        node, there = self._get(old, "dfl"), self._nodes.get(new)
        if old == new or new.startswith(old + "/") or there is node:
            raise Refused
        if there is None:
            self._place(new)
        elif (there.kind == "d") != (node.kind == "d") or self._below(new):
            raise Refused
        moved = {new + one[len(old) :]: self._nodes.pop(one) for one in [old, *self._below(old)]}
        self._nodes.update(moved)

    def write(self, path: str, offset: int, data: bytes) -> None:
        """pwrite(2)."""
        node = self._get(path, "f")
        start = node.content[:offset].ljust(offset, b"\0")
        node.content = start + data + node.content[offset + len(data) :]

    def truncate(self, path: str, length: int) -> None:
        """truncate(2)."""
        node = self._get(path, "f")
        node.content = node.content[:length].ljust(length, b"\0")

    def fsync(self, path: str) -> None:
        """fsync(2): a journal commits everything before it as well."""
        self._get(path, "df")

    def sync(self) -> None:
        """sync(2)."""

    def tree(self) -> Tree:
        """All that is in it."""
        numbers: dict[_Node, int] = {}
        found: Tree = {}
        for path in sorted(self._nodes):
            node = self._nodes[path]
            if path != "/":
                number = numbers.setdefault(node, len(numbers))
                found[path] = (node.kind, node.content, number)
        return found


def perform(volume: Volume, op: Op) -> None:
    """One operation."""
    getattr(volume, op.kind)(*op.args)


SETUP = (
    Op("mkdir", ("/a",)),
    Op("mkdir", ("/b",)),
    Op("create", ("/a/x",)),
    Op("write", ("/a/x", 0, b"X" * 6000)),
    Op("create", ("/b/y",)),
    Op("write", ("/b/y", 0, b"Y" * 300)),
    Op("sync"),
)

OPERATIONS = (
    Op("create", ("/a/new",)),
    Op("mkdir", ("/a/dir",)),
    Op("rmdir", ("/a/dir",)),
    Op("unlink", ("/a/x",)),
    Op("unlink", ("/b/y",)),
    Op("link", ("/a/x", "/b/link")),
    Op("symlink", ("/a/short", b"target")),
    Op("symlink", ("/a/long", b"t" * 100)),
    Op("rename", ("/a/x", "/a/new")),
    Op("rename", ("/a/x", "/b/y")),
    Op("rename", ("/b/y", "/a/x")),
    Op("rename", ("/a", "/b/a")),
    Op("write", ("/a/x", 6000, b"appended" * 100)),
    Op("write", ("/a/new", 0, b"N" * 5000)),
    Op("write", ("/b/y", 20 * BLOCK, b"behind a hole")),
    Op("truncate", ("/a/x", 100)),
    Op("truncate", ("/a/x", 0)),
    Op("truncate", ("/b/y", 3 * BLOCK)),
    Op("fsync", ("/a/x",)),
    Op("fsync", ("/a",)),
    Op("sync"),
)

Workload = tuple[Op, ...]


def _valid(workload: Workload) -> bool:
    model = Model()
    try:
        for op in (*SETUP, *workload):
            perform(model, op)
    except Refused:
        return False
    return True


def sweep(length: int) -> Iterator[Workload]:
    """All workloads of so many operations that make sense, each then persisted."""
    for ops in itertools.product(OPERATIONS, repeat=length):
        if all(op.kind in PERSISTING for op in ops):
            continue
        workload = (*ops, Op("sync"))
        if _valid(workload):
            yield workload


def drawn(length: int, count: int, seed: int = 0) -> Iterator[Workload]:
    """`count` of that length, by chance."""
    chance = random.Random(seed)
    while count:
        workload = (*chance.choices(OPERATIONS, k=length), Op("sync"))
        if _valid(workload):
            count -= 1
            yield workload


def trees(workload: Workload) -> list[Tree]:
    """The tree before the first operation, and after each."""
    model = Model()
    for op in SETUP:
        perform(model, op)
    found = [model.tree()]
    for op in workload:
        perform(model, op)
        found.append(model.tree())
    return found
