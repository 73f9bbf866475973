"""What one end-to-end test is: a command line, and what it needs.

A command runs in a fresh scratch directory that holds `COMMON` files and its own, with a fixed
environment, and must print the same in every run on Linux: no process ids, clocks, inode numbers,
directory orders or sizes of directories.
"""

from __future__ import annotations

import random
import shlex
import textwrap
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT_SEED = 20010203


@attrs.frozen
class Command:
    """One command line. `files` are made in the scratch directory first, `needs` are programs.

    `alone`: on the host in a network namespace of its own, with lo up and nothing else; on
    Hardtack without a network card. So both see the same network.
    """

    name: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    stdin: bytes = b""
    files: Mapping[str, bytes] = attrs.field(factory=dict)
    slow: bool = False
    alone: bool = False


def _files(files: Mapping[str, str | bytes]) -> dict[str, bytes]:
    return {k: v.encode() if isinstance(v, str) else v for k, v in files.items()}


def run(
    name: str,
    line: str,
    *,
    stdin: str = "",
    files: Mapping[str, str | bytes] = {},
    slow: bool = False,
) -> Command:
    """One program, its arguments quoted as for a shell but no shell in between."""
    argv = tuple(shlex.split(line))
    return Command(name, argv, (argv[0],), stdin.encode(), _files(files), slow)


def script(
    name: str,
    text: str,
    *needs: str,
    shell: str = "/bin/sh",
    stdin: str = "",
    files: Mapping[str, str | bytes] = {},
    slow: bool = False,
) -> Command:
    """A shell script; `needs` are the programs that are not on every machine."""
    argv = (shell, "-c", textwrap.dedent(text).strip())
    return Command(name, argv, (shell, *needs), stdin.encode(), _files(files), slow)


def bash(name: str, text: str, *needs: str, stdin: str = "", slow: bool = False) -> Command:
    """A bash script."""
    return script(name, text, *needs, shell="/bin/bash", stdin=stdin, slow=slow)


def sentences(count: int) -> bytes:
    """That many lines of pseudo-random words: the same in every run."""
    words = [
        "ship",
        "biscuit",
        "flour",
        "water",
        "salt",
        "oven",
        "sailor",
        "storm",
        "keel",
        "anchor",
        "weevil",
        "crumb",
    ]
    source = random.Random(TEXT_SEED)
    lines = (
        " ".join(source.choices(words, k=source.randint(3, 12))) + f" {source.randint(0, 99999)}\n"
        for _ in range(count)
    )
    return "".join(lines).encode()


BIG_LINES = 12_000  # about 600 KB
BIG = {"big.txt": sentences(BIG_LINES)}

COMMON: dict[str, bytes] = {
    "words.txt": b"pear\napple\nfig\napple\nplum\nPear\nfig\napple\nquince\ndate\n\ncherry\n",
    "numbers.txt": b"".join(
        b"%d\n" % n for n in random.Random(TEXT_SEED).sample(range(-500, 5000), 60)
    ),
    "table.csv": b"id,name,price,count\n"
    b"3,flour,1.50,12\n1,salt,0.75,40\n2,water,0.00,7\n4,oil,,3\n",
    "poem.txt": b"The ship's biscuit\n\tkeeps for years;\n"
    b"it fears   no storm,\nno heat,\nno tears.\n",
    "left.txt": b"1 one\n2 two\n3 three\n5 five\n",
    "right.txt": b"1 eins\n2 zwei\n4 vier\n5 fuenf\n",
}
