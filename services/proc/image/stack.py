"""The first stack of a program: strings, auxiliary vector, environment, arguments.

Layout as in the x86-64 psABI, section 3.4.1, with the auxiliary vector of getauxval(3).
"""

from __future__ import annotations

import struct

import attrs

AT_NULL, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY = (
    0,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
AT_UID, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK = 11, 12, 13, 14, 15, 16, 17
AT_SECURE, AT_RANDOM, AT_HWCAP2, AT_EXECFN, AT_SYSINFO_EHDR = 23, 25, 26, 31, 33
CLOCK_TICKS = 100


@attrs.frozen
class Built:
    """The bytes to be written at `sp`, and where the strings ended up."""

    sp: int
    image: bytes
    argv_range: tuple[int, int]
    env_range: tuple[int, int]
    auxv: bytes


def build(
    top: int,
    argv: list[bytes],
    env: list[bytes],
    filename: bytes,
    random: bytes,
    auxiliary: list[tuple[int, int]],
) -> Built:
    """Lay the stack out below `top` (16-byte aligned)."""
    at = top - 8
    blocks: list[bytes] = [bytes(8)]

    def put(data: bytes) -> int:
        nonlocal at
        at -= len(data)
        blocks.append(data)
        return at

    name_at = put(filename + b"\0")
    env_end = at
    env_block = b"".join(s + b"\0" for s in env)
    env_at = put(env_block)
    argv_block = b"".join(s + b"\0" for s in argv)
    argv_at = put(argv_block)
    platform_at = put(b"x86_64\0")
    random_at = put(random)
    pointers = _pointers(argv_at, argv) + _pointers(env_at, env)
    vector = [
        *auxiliary,
        (AT_RANDOM, random_at),
        (AT_EXECFN, name_at),
        (AT_PLATFORM, platform_at),
        (AT_NULL, 0),
    ]
    auxv = b"".join(struct.pack("<QQ", *pair) for pair in vector)
    table = struct.pack("<Q", len(argv)) + pointers + auxv
    sp = (at - len(table)) & ~15
    image = table + bytes(at - sp - len(table)) + b"".join(reversed(blocks))
    return Built(sp, image, (argv_at, env_at), (env_at, env_end), auxv)


def _pointers(start: int, strings: list[bytes]) -> bytes:
    addresses = []
    for string in strings:
        addresses.append(start)
        start += len(string) + 1
    return struct.pack(f"<{len(addresses) + 1}Q", *addresses, 0)
