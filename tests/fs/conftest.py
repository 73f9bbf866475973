"""Machines with the usual file systems."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from services.fs.service import SYSTEM_MOUNTS, MountSpec
from tests.fs.machine import Machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def memory() -> AsyncIterator[Machine]:
    """A machine with nothing but memory; afterwards nothing may have leaked."""
    machine = await Machine().start()
    yield machine
    await machine.assert_no_leak()
    machine.host.close()


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    """A small host tree."""
    tree = tmp_path / "lower"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/passwd").write_bytes(b"root:x:0:0::/:/bin/sh\n")
    (tree / "data").write_bytes(bytes(range(256)) * 800)  # 50 pages
    (tree / "bin").mkdir()
    (tree / "bin/one").write_bytes(b"#!/bin/sh\n")
    (tree / "bin/one").chmod(0o755)
    os.link(tree / "bin/one", tree / "bin/two")
    os.symlink("one", tree / "bin/three")
    return tree


@pytest.fixture
async def overlay(lower: Path) -> AsyncIterator[Machine]:
    """A memory overlay over the small host tree, with the system's mounts."""
    machine = await Machine(MountSpec(b"/", "hosttree", os.fsencode(lower)), SYSTEM_MOUNTS).start()
    yield machine
    await machine.assert_no_leak()
    machine.host.close()


@pytest.fixture
async def bind(lower: Path) -> AsyncIterator[Machine]:
    """The small host tree at /mnt, for reading and writing."""
    machine = await Machine(
        None, [MountSpec(b"/mnt", "hosttree", os.fsencode(lower), "rw")]
    ).start()
    yield machine
    await machine.assert_no_leak()
    machine.host.close()
