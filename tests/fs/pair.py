"""The same operation on the host and on Hardtack's file system, and whether they agree."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.fs import api
from services.fs.api import At, Cred, Foreign, Opened

if TYPE_CHECKING:
    from tests.fs.machine import Machine

ORACLE = Path(__file__).with_name("hostoracle.py")
CREDS = ((0, 0, ()), (1000, 1000, (50,)), (1001, 50, ()))


class Oracle:
    """The host, in a process of its own whose root is `directory`."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", str(ORACLE), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.able = self.process.stdout.readline() == "ready\n"

    def run(self, name: str, cred: int, *words: Any) -> tuple[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(repr((name, CREDS[cred], *words)), file=self.process.stdin, flush=True)
        reply: tuple[str, Any] = literal_eval(self.process.stdout.readline())
        return reply

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Guest:
    """The same operations on a machine."""

    def __init__(self, machine: Machine) -> None:
        self.m = machine
        self.cred = Cred(0, 0)
        self.cwd = machine.at.root
        self.open_files: dict[int, int] = {}
        self.alone = True

    async def run(self, name: str, cred: int, *words: Any) -> tuple[str, Any]:
        uid, gid, groups = CREDS[cred]
        self.cred = Cred(uid, gid, frozenset(groups))
        try:
            return "ok", await getattr(self, name)(*words)
        except PosixError as refusal:
            return "errno", refusal.errno

    @property
    def at(self) -> At:
        return At(self.m.at.root, self.cwd)

    async def call(self, request: Any) -> Any:
        reply = await self.m.call(request)
        assert not isinstance(reply, Foreign)
        return reply

    async def node(self, path: bytes, follow: bool = True) -> Opened:
        reply = await self.call(api.Resolve(self.at, path, self.cred, follow))
        assert isinstance(reply, Opened)
        return reply

    async def chdir(self, path: bytes) -> None:
        reply = await self.call(api.Resolve(self.at, path, self.cred, directory=True, search=True))
        if self.cwd != self.m.at.root:
            await self.m.release(self.cwd)
        self.cwd = reply.node
        if reply.node == self.m.at.root:
            await self.m.release(reply.node)

    async def stat(self, path: bytes, follow: bool) -> tuple[int, ...]:
        return described(await self.call(api.Stat(self.at, path, self.cred, follow)))

    async def fstat(self, slot: int) -> tuple[int, ...]:
        return described(await self.call(api.StatNode(self.open_files[slot])))

    async def mkdir(self, path: bytes, mode: int) -> None:
        await self.call(api.MakeDir(self.at, path, mode, self.cred))

    async def mknod(self, path: bytes, mode: int) -> None:
        await self.call(api.MakeNode(self.at, path, mode, 0, self.cred))

    async def symlink(self, target: bytes, path: bytes) -> None:
        await self.call(api.Symlink(self.at, path, target, self.cred))

    async def link(self, old: bytes, new: bytes) -> None:
        found = await self.node(old, follow=False)
        try:
            await self.call(api.Link(found.node, self.at, new, self.cred))
        finally:
            await self.m.release(found.node)

    async def unlink(self, path: bytes) -> None:
        await self.call(api.Unlink(self.at, path, False, self.cred))

    async def rmdir(self, path: bytes) -> None:
        await self.call(api.Unlink(self.at, path, True, self.cred))

    async def rename(self, old: bytes, new: bytes, flags: int) -> None:
        await self.call(api.Rename(self.at, old, self.at, new, flags, self.cred))

    async def readlink(self, path: bytes) -> bytes:
        return bytes(await self.call(api.ReadLink(self.at, path, self.cred)))

    async def access(self, path: bytes, mode: int) -> None:
        await self.call(api.Access(self.at, path, mode, self.cred))

    async def _set(self, path: bytes, follow: bool = True, **changes: int) -> None:
        found = await self.node(path, follow)
        try:
            await self.call(api.SetAttr(found.node, self.cred, **changes))
        finally:
            await self.m.release(found.node)

    async def chmod(self, path: bytes, mode: int) -> None:
        await self._set(path, mode=mode)

    async def chown(self, path: bytes, uid: int, gid: int, follow: bool) -> None:
        await self._set(path, follow, uid=uid, gid=gid)

    async def utime(self, path: bytes, atime: int, mtime: int) -> None:
        await self._set(path, atime_ns=atime, mtime_ns=mtime)

    async def touch(self, path: bytes) -> None:
        await self._set(path, atime_ns=-1, mtime_ns=-1)

    async def list(self, path: bytes) -> list[tuple[bytes, int]]:
        flags = os.O_RDONLY | os.O_DIRECTORY
        found = await self.call(api.Open(self.at, path, flags, 0, self.cred))
        names: list[tuple[bytes, int]] = []
        cookie = 0
        try:
            while entries := await self.call(api.ReadDir(found.node, cookie, 3)):
                cookie = entries[-1].cookie
                names += [(e.name, e.kind << 12) for e in entries]
        finally:
            await self.m.release(found.node)
        assert [name for name, _ in names[:2]] == [b".", b".."]
        assert not self.alone or len({name for name, _ in names}) == len(names)
        return sorted(names[2:])

    async def open(self, slot: int, path: bytes, flags: int, mode: int) -> tuple[int, int]:
        found = await self.call(api.Open(self.at, path, flags, mode, self.cred))
        if slot < 0 or slot in self.open_files:
            attr = await self.call(api.StatNode(found.node))
            await self.m.release(found.node)
        else:
            self.open_files[slot] = found.node
            attr = await self.call(api.StatNode(found.node))
        assert not self.alone or (attr.mode, attr.size) == (found.mode, found.size)
        return found.mode, found.size if stat.S_ISREG(found.mode) else 0

    async def close(self, slot: int) -> None:
        await self.m.release(self.open_files.pop(slot))

    async def write(self, slot: int, offset: int, data: bytes) -> int:
        return (await self._write(slot, offset, data)).count

    async def append(self, slot: int, data: bytes) -> int:
        return (await self._write(slot, api.APPEND, data)).count

    async def _write(self, slot: int, offset: int, data: bytes) -> api.Written:
        self.m.cred = self.cred
        return await self.m.write(self.open_files[slot], offset, data)

    async def read(self, slot: int, offset: int, count: int) -> bytes:
        return await self.m.read(self.open_files[slot], offset, count)

    async def ftruncate(self, slot: int, length: int) -> None:
        await self.call(api.Truncate(self.open_files[slot], length, self.cred))

    async def fallocate(self, slot: int, mode: int, offset: int, length: int) -> None:
        node = self.open_files[slot]
        await self.call(api.Allocate(node, mode, offset, length, self.cred))

    async def release_all(self) -> None:
        for slot in list(self.open_files):
            await self.close(slot)
        if self.cwd != self.m.at.root:
            await self.m.release(self.cwd)
            self.cwd = self.m.at.root


def described(attr: api.Attr) -> tuple[int, ...]:
    size = 0 if stat.S_ISDIR(attr.mode) else attr.size
    return attr.ino, attr.mode, attr.nlink, attr.uid, attr.gid, size


class Pair:
    """Both sides. Inode numbers need not be equal: they must name the same things."""

    def __init__(self, oracle: Oracle, guest: Guest) -> None:
        self.oracle = oracle
        self.guest = guest
        self.log: list[Any] = []

    async def do(self, name: str, cred: int, *words: Any) -> Any:
        expected = self.oracle.run(name, cred, *words)
        got = await self.guest.run(name, cred, *words)
        self.log.append((name, cred, *words))
        if name in ("stat", "fstat") and expected[0] == got[0] == "ok":
            assert got[1][1:] == expected[1][1:], (self.log[-1], got, expected)
        else:
            assert got == expected, (self.log[-1], "got", got, "expected", expected)
        return expected

    async def compare_trees(self, path: bytes = b"/") -> None:
        """Every name, kind, attribute and content."""
        inodes: dict[int, int] = {}
        await self._compare(path, inodes)
        assert len(set(inodes.values())) == len(inodes)

    async def _compare(self, path: bytes, inodes: dict[int, int]) -> None:
        expected = self.oracle.run("stat", 0, path, False)
        got = await self.guest.run("stat", 0, path, False)
        assert got[0] == expected[0] == "ok", path
        assert got[1][1:] == expected[1][1:], (path, got, expected)
        assert inodes.setdefault(expected[1][0], got[1][0]) == got[1][0]
        kind = stat.S_IFMT(expected[1][1])
        if kind == stat.S_IFLNK:
            await self.do("readlink", 0, path)
        elif kind == stat.S_IFREG:
            assert await self.guest.run("open", 0, 99, path, os.O_RDONLY, 0) == self.oracle.run(
                "open", 0, 99, path, os.O_RDONLY, 0
            )
            await self.do("read", 0, 99, 0, 200_000)
            await self.do("close", 0, 99)
        elif kind == stat.S_IFDIR:
            names = await self.do("list", 0, path)
            for name, _ in names[1]:
                await self._compare(path.rstrip(b"/") + b"/" + name, inodes)
