"""Formats of the two descriptors that pipe and socketpair make."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..model import Out
from ..scalars import flags
from ..tables.files import OPEN_FLAGS
from ..text import address

if TYPE_CHECKING:
    from ..model import Ctx


def _pair(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 8)
    if raw is None:
        return address(word)
    first, second = struct.unpack("<ii", raw)
    return f"[{first}, {second}]"


PIPE = Out(_pair)
PIPE_FLAGS = flags(OPEN_FLAGS)
