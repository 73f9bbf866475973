"""Where a thread of the host, or a coroutine that waits, stands: for dumps, without stopping it."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType

MOST = 40
_ROOT = str(Path(__file__).resolve().parents[2]) + "/"


def _place(code: CodeType, line: int | None) -> str:
    file = code.co_filename.removeprefix(_ROOT)
    return f"{file}:{line or code.co_firstlineno} {code.co_qualname}"


def of_thread(ident: int) -> list[str]:
    """The frames of a host thread, innermost first."""
    frame = sys._current_frames().get(ident)
    found = [_place(frame.f_code, line) for frame, line in traceback.walk_stack(frame)]
    return found[:MOST]


def of_coroutine(coroutine: Any) -> list[str]:
    """The frames of a coroutine that waits, outermost first, through relays between coroutines."""
    found: list[str] = []
    while coroutine is not None and len(found) < MOST:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        found.append(_place(frame.f_code, frame.f_lineno))
        below = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
        coroutine = below if below is not None else frame.f_locals.get("coroutine")
    return found
