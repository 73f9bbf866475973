"""Do paths lead where path_resolution(7) says?"""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR

import pytest

from bus.errors import MalformedRequest
from services.fs import api
from services.fs.api import At, Cred, Foreign
from tests.fs.machine import USER, Machine


async def make_tree(m: Machine) -> None:
    for path in (b"/a", b"/a/b", b"/a/b/c"):
        await m.call(api.MakeDir(m.at, path, 0o755, m.cred))
    await m.put(b"/a/b/file", b"content")
    await m.call(api.Symlink(m.at, b"/to-b", b"a/b", m.cred))
    await m.call(api.Symlink(m.at, b"/a/up", b"../to-b/file", m.cred))
    await m.call(api.Symlink(m.at, b"/a/absolute", b"/a/b/", m.cred))


@pytest.mark.parametrize(
    "path",
    [
        b"/a/b/file",
        b"a/b/file",
        b"//a///b/./file",
        b"/../../a/b/../b/file",
        b"/to-b/file",
        b"/a/up",
        b"/a/absolute/file",
        b"/to-b/../b/file",
    ],
)
async def test_many_paths_lead_to_one_file(memory: Machine, path: bytes) -> None:
    await make_tree(memory)
    assert (await memory.stat(path)).ino == (await memory.stat(b"/a/b/file")).ino


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"", ENOENT),
        (b"/a/x", ENOENT),
        (b"/a/x/y", ENOENT),
        (b"/a/b/file/", ENOTDIR),
        (b"/a/b/file/.", ENOTDIR),
        (b"/a/b/file/x", ENOTDIR),
        (b"/" + b"n" * 256, ENAMETOOLONG),
        (b"/" + b"n" * 255, ENOENT),
        (b"/" + b"x/" * 2048, ENAMETOOLONG),
    ],
)
async def test_wrong_paths_are_refused(memory: Machine, path: bytes, number: int) -> None:
    await make_tree(memory)
    assert await memory.errno(api.Stat(memory.at, path, memory.cred)) == number


async def test_forty_links_are_followed_and_no_more(memory: Machine) -> None:
    m = memory
    await m.put(b"/link0", b"")
    for i in range(41):
        await m.call(api.Symlink(m.at, b"/link%d" % (i + 1), b"link%d" % i, m.cred))
    assert await m.errno(api.Stat(m.at, b"/link40", m.cred)) == 0
    assert await m.errno(api.Stat(m.at, b"/link41", m.cred)) == ELOOP
    await m.call(api.Symlink(m.at, b"/self", b"self", m.cred))
    assert await m.errno(api.Stat(m.at, b"/self", m.cred)) == ELOOP


async def test_a_process_does_not_leave_its_root(memory: Machine) -> None:
    await make_tree(memory)
    m = memory
    jail = (await m.call(api.Resolve(m.at, b"/a/b", m.cred))).node
    inside = At(jail, jail)
    for path in (b"/file", b"../file", b"/../../file", b"c/../../file"):
        assert await m.errno(api.Stat(inside, path, m.cred)) == 0
    assert await m.errno(api.Stat(inside, b"/a", m.cred)) == ENOENT
    assert await m.call(api.PathOf(jail, jail)) == b"/"
    assert await m.call(api.PathOf(m.at.root, jail)) == b"(unreachable)/"
    await m.release(jail)


async def test_names_of_nodes_follow_renames_and_say_when_they_are_gone(memory: Machine) -> None:
    await make_tree(memory)
    m = memory
    node = (await m.open(b"/a/b/file")).node
    await m.call(api.Rename(m.at, b"/a/b", m.at, b"/moved", 0, m.cred))
    assert await m.call(api.PathOf(node, m.at.root)) == b"/moved/file"
    assert await m.errno(api.Stat(m.at, b"/a/b/file", m.cred)) == ENOENT
    await m.call(api.Unlink(m.at, b"/moved/file", False, m.cred))
    assert await m.call(api.PathOf(node, m.at.root)) == b"/moved/file (deleted)"
    await m.release(node)


async def test_a_cached_walk_ends_when_a_directory_is_closed_to_the_walker(
    memory: Machine,
) -> None:
    await make_tree(memory)
    m = memory
    request = api.Stat(m.at, b"/a/b/file", USER)
    assert await m.errno(request) == await m.errno(request) == 0
    directory = (await m.call(api.Resolve(m.at, b"/a", m.cred))).node
    await m.call(api.SetAttr(directory, m.cred, mode=0o700))
    assert await m.errno(request) == EACCES
    assert await m.errno(api.Stat(m.at, b"/a/b/file", m.cred)) == 0
    await m.call(api.SetAttr(directory, m.cred, mode=0o710, gid=USER.gid))
    assert await m.errno(request) == 0
    assert await m.errno(api.Stat(m.at, b"/a/b/file", Cred(1001, 1, frozenset({7})))) == EACCES
    await m.release(directory)


async def test_a_cached_walk_ends_when_a_link_leads_elsewhere(memory: Machine) -> None:
    await make_tree(memory)
    m = memory
    assert (await m.stat(b"/to-b/file")).size == 7
    await m.call(api.Unlink(m.at, b"/to-b", False, m.cred))
    assert await m.errno(api.Stat(m.at, b"/to-b/file", m.cred)) == ENOENT
    await m.call(api.Symlink(m.at, b"/to-b", b"/a/b/c", m.cred))
    assert await m.errno(api.Stat(m.at, b"/to-b/file", m.cred)) == ENOENT


async def test_what_is_served_elsewhere_is_answered_with_the_rest(overlay: Machine) -> None:
    m = overlay
    for path, rest in (
        (b"/proc", b""),
        (b"/proc/", b""),
        (b"/proc/self/fd/3", b"self/fd/3"),
        (b"/proc/self/", b"self/"),
        (b"/dev/stdin", b"self/fd/0"),
        (b"/bin/../proc/./sys/../self", b"sys/../self"),
    ):
        for request in (
            api.Stat(m.at, path, m.cred),
            api.Resolve(m.at, path, m.cred),
            api.Open(m.at, path, os.O_RDONLY, 0, m.cred),
            api.ReadLink(m.at, path + b"/x", m.cred),
        ):
            reply = await m.call(request)
            assert isinstance(reply, Foreign)
            if not isinstance(request, api.ReadLink):
                assert reply == Foreign("proc", rest, b"/proc")
    assert isinstance(await m.call(api.MakeDir(m.at, b"/proc/x", 0o755, m.cred)), Foreign)
    assert (await m.stat(b"/proc/../bin")).ino == (await m.stat(b"/bin")).ino


async def test_links_can_be_read_and_nothing_else_can(memory: Machine) -> None:
    await make_tree(memory)
    m = memory
    assert await m.call(api.ReadLink(m.at, b"/a/up", m.cred)) == b"../to-b/file"
    assert await m.errno(api.ReadLink(m.at, b"/a", m.cred)) == EINVAL
    opened = await m.open(b"/a/up", os.O_NOFOLLOW | 0o10000000)
    at = At(m.at.root, opened.node)
    assert await m.call(api.ReadLink(at, b"", m.cred)) == b"../to-b/file"
    await m.release(opened.node)
    assert await m.errno(api.Open(m.at, b"/a/up", os.O_NOFOLLOW, 0, m.cred)) == ELOOP


async def test_a_removed_directory_still_has_a_parent(memory: Machine) -> None:
    await make_tree(memory)
    m = memory
    deep = (await m.call(api.Resolve(m.at, b"/a/b/c", m.cred))).node
    inside = At(m.at.root, deep)
    await m.call(api.Unlink(m.at, b"/a/b/file", False, m.cred))
    for path in (b"/a/b/c", b"/a/b"):
        await m.call(api.Unlink(m.at, path, True, m.cred))
    assert await m.call(api.PathOf(deep, m.at.root)) == b"/a/b/c (deleted)"
    assert (await m.call(api.Stat(inside, b"..", m.cred))).nlink == 0
    assert await m.call(api.Stat(inside, b"../../..", m.cred)) == await m.stat(b"/")
    assert await m.errno(api.Stat(inside, b"../c", m.cred)) == ENOENT
    for request in (
        api.MakeDir(inside, b"x", 0o755, m.cred),
        api.Open(inside, b"x", os.O_CREAT, 0o644, m.cred),
        api.MakeDir(inside, b"../x", 0o755, m.cred),
        api.ReadDir(deep, 0, 5),
    ):
        assert await m.errno(request) == ENOENT
    await m.release(deep)


async def test_a_very_deep_tree_is_no_problem(memory: Machine) -> None:
    m = memory
    await m.call(api.MakeDir(m.at, b"/top", 0o755, m.cred))
    await m.call(api.Mount(m.at, b"", b"/top", "tmpfs", "", False, m.cred))
    base = (await m.call(api.Resolve(m.at, b"/top", m.cred))).node
    for _ in range(3000):
        await m.call(api.MakeDir(At(m.at.root, base), b"d", 0o755, m.cred))
        below = (await m.call(api.Resolve(At(m.at.root, base), b"d", m.cred))).node
        await m.release(base)
        base = below
    assert len(await m.call(api.PathOf(base, m.at.root))) == len(b"/top") + 6000
    await m.release(base)
    await m.call(api.Unmount(m.at, b"/top", m.cred))


async def test_unknown_nodes_are_the_callers_fault(memory: Machine) -> None:
    for request in (
        api.Release(99),
        api.Retain(99),
        api.StatNode(99),
        api.Read(99, 0, [(4096, 1)]),
        api.Stat(At(99, 99), b"/", memory.cred),
        api.TakeEvents(99, 1, False),
    ):
        with pytest.raises(MalformedRequest):
            await memory.call(request)
    for ring in memory.bus.rings.values():
        ring.__init__()  # type: ignore[misc]


async def test_the_program_to_run_must_be_one(overlay: Machine) -> None:
    m = overlay
    ask = [
        api.Resolve(m.at, path, m.cred, execute=True) for path in (b"/bin/one", b"/data", b"/bin")
    ]
    assert [await m.errno(request) for request in ask] == [0, EACCES, EACCES]
