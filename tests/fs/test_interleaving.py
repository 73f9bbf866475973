"""Does the tree stay whole when callers run between each other's steps?

With vm and the drivers in other processes every call to them lets other callers of fs run. Here
each such call waits a while, and several callers do random things to the same few names.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from typing import TYPE_CHECKING, Any

import pytest
import trio

from services.fs import api
from services.fs.service import MountSpec
from tests.fs.machine import Machine
from tests.fs.pair import Guest
from tests.fs.test_oracle import fresh, populate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NAMES = (b"a", b"b", b"c", b"dir", b"dir/a", b"dir/b", b"dir/b/c", b"link", b"dir/link")


def slow(handler: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    async def later(request: Any) -> Any:
        await trio.lowlevel.checkpoint()
        reply = await handler(request)
        await trio.lowlevel.checkpoint()
        return reply

    return later


async def disturb(guest: Guest, rng: random.Random, steps: int) -> None:
    def path() -> bytes:
        return rng.choice(NAMES)

    for _ in range(steps):
        slot = rng.randrange(3)
        opened = slot in guest.open_files
        offset, size = rng.choice((0, 100, 4096, 9000)), rng.choice((1, 5000, 20_000))
        choices: list[tuple[Any, ...]] = [
            ("mkdir", 0, path(), 0o755),
            ("symlink", 0, path(), path()),
            ("link", 0, path(), path()),
            ("unlink", 0, path()),
            ("rmdir", 0, path()),
            ("rename", 0, path(), path(), rng.choice((0, 0, 1, 2))),
            ("stat", 0, path(), True),
            ("list", 0, rng.choice((b".", b"dir", b"dir/b"))),
            ("chmod", 0, path(), 0o700),
            ("open", 0, -1, path(), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644),
            ("open", 0, slot, path(), os.O_RDWR | os.O_CREAT, 0o644),
        ]
        if opened:
            choices += [
                ("read", 0, slot, offset, size),
                ("write", 0, slot, offset, b"z" * size),
                ("append", 0, slot, b"w" * size),
                ("ftruncate", 0, slot, rng.choice((0, 10, 5000))),
                ("close", 0, slot),
            ]
        choice = rng.choice(choices)
        outcome = await guest.run(*choice)
        is_file = outcome[0] == "ok" and choice[0] == "open" and stat.S_ISREG(outcome[1][0])
        if slot in guest.open_files and not opened and not is_file:
            await guest.close(slot)
        if rng.random() < 0.05:
            await guest.m.call(api.EvictPages(100))
            guest.m.tree.evict_names(5)
    await guest.release_all()


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "bind"])
@pytest.mark.parametrize("seed", range(int(os.environ.get("FS_SEEDS", "4"))))
async def test_the_tree_stays_whole(kind: str, seed: int) -> None:
    lower = fresh()
    try:
        populate(lower)
        options = "rw" if kind == "bind" else ""
        root = MountSpec(b"/", "hosttree", os.fsencode(lower), options)
        machine = await Machine(None if kind == "tmpfs" else root).start()
        for name in ("vm", "hosttree", "clock"):
            handlers = {k: slow(h) for k, h in machine.bus.handlers_of(name).items()}
            machine.bus.serve(name, handlers)
        rng = random.Random(seed)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                guest = Guest(machine)
                guest.alone = False
                nursery.start_soon(disturb, guest, random.Random(rng.random()), 120)
        await machine.assert_no_leak()
        machine.host.close()
    finally:
        shutil.rmtree(lower)
