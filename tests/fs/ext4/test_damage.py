"""A volume that is damaged anywhere is refused, or says where; it is never believed, or a crash."""

from __future__ import annotations

import itertools
import stat
from errno import EBADMSG
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.errors import PosixError
from services.fs.ext4.damage import Damaged, Refused
from services.fs.ext4.device import MemoryDevice
from services.fs.ext4.reading import Reader
from tests.fs.ext4.images import make_image, make_tree, needs_mke2fs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_mke2fs
KINDS = {
    "checked": ("-b", "1024"),
    "unchecked": ("-b", "1024", "-O", "^metadata_csum,^64bit"),
    "lists": ("-b", "1024", "-O", "^metadata_csum,^64bit,^extent"),
}
PIECES = 3
"""Of each file, as a damaged size may be absurd."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("images")
    make_tree(folder / "tree", 60)
    return {
        kind: make_image(folder / "image", folder / "tree", options, "10M").read_bytes()
        for kind, options in KINDS.items()
    }


def walk(reader: Reader, number: int = 2, depth: int = 0) -> Iterator[tuple[bytes, int, bytes]]:
    """(name, mode, content) of all that is below an inode; Damaged where something is."""
    for entry in reader.names(reader.inode(number)):
        inode = reader.inode(entry.inode)
        content = b""
        if stat.S_ISREG(inode.mode):
            content = b"".join(itertools.islice(reader.content(inode, 1 << 18), PIECES))
        elif stat.S_ISLNK(inode.mode) and inode.size < 1 << 16:
            content = reader.target(inode)
        reader.attributes(inode)
        yield entry.name, inode.mode, content
        if inode.is_directory and depth < 4:
            yield from walk(reader, entry.inode, depth + 1)


def read_all(image: bytes) -> object:
    """All that is in an image, or what was said instead."""
    device = MemoryDevice(len(image))
    device.write(0, image)
    try:
        return list(walk(Reader(device)))
    except (Refused, PosixError) as said:
        return said


def metadata_blocks(image: bytes) -> set[int]:
    """The blocks that our own reading has looked at, but for content."""
    device = MemoryDevice(len(image))
    device.write(0, image)
    reader = Reader(device)
    list(walk(reader))
    return set(reader.volume.cache._blocks) | {1}


@pytest.mark.parametrize("kind", KINDS)
def test_each_metadata_block_damaged_in_turn(images: dict[str, bytes], kind: str) -> None:
    """Zeros, ones, or one bit in the middle; where there are checksums, none goes unnoticed."""
    image = images[kind]
    good = read_all(image)
    assert isinstance(good, list)
    noticed = 0
    for block in sorted(metadata_blocks(image)):
        at = block * 1024
        for piece in (bytes(1024), b"\xff" * 1024, None):
            damaged = bytearray(image)
            if piece is None:
                damaged[at + 0x14] ^= 0x10
            else:
                damaged[at : at + 1024] = piece
            said = read_all(bytes(damaged))
            if isinstance(said, PosixError):
                assert str(said)
            if kind == "checked" and piece is None and said != good:  # some inodes have no name
                assert isinstance(said, Refused | Damaged), block
                assert isinstance(said, Refused) or said.errno == EBADMSG, said
                noticed += 1
    assert kind != "checked" or noticed > 20


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(["unchecked", "lists"]),
    st.lists(st.tuples(st.integers(0, 400 * 1024), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_bytes_changed_anywhere(
    images: dict[str, bytes], kind: str, changes: list[tuple[int, int]]
) -> None:
    """The first 400 KiB hold all descriptors and most inodes; nobody checks sums here."""
    damaged = bytearray(images[kind])
    for at, value in changes:
        damaged[at] = value
    read_all(bytes(damaged))
