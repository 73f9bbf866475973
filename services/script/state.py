"""One Lua state: LuaJIT with its own allocator's limit, and the kernel's functions inside.

The kernel's functions are C callbacks (`ctypes`) that the prelude calls through LuaJIT's FFI, which
compiled traces call directly; Python's objects never enter Lua, so there are no attributes to be
reached. The FFI itself stays in the prelude: scripts see the prelude's environment alone.
"""

from __future__ import annotations

import ctypes
import functools
from importlib import resources
from typing import TYPE_CHECKING, Any

from lupa.luajit21 import LuaError, LuaMemoryError, LuaRuntime

from bus.census import kind
from services.script.api import BLOCKED, FAILED, SCRATCH_BYTES, STOPPED, Failure, Limits
from services.script.instrument import BadScript, instrument

if TYPE_CHECKING:
    from services.script.api import Caller

STATE = kind("script", "state")
LOOKS_CHARACTERS = 16 << 10
"""So much of a script's text, or less, runs between two looks at the clock."""
MOST_LOOKS = 128
OUT_OF_MEMORY = "not enough memory"
CHUNK = b"=kernel"
"""What the messages of errors call our own Lua."""
HEADER = "local __left,__look=... "


@functools.cache
def _text(name: str) -> bytes:
    return resources.files("services.script").joinpath("lua", name).read_bytes()


@functools.cache
def _library() -> bytes:
    text = instrument(_text("library.lua").decode(), trusted=True)
    return f"local __left,__look,string,table,math,env,text=... {text}".encode()


class Doors:
    """The caller's functions as C callbacks: one set for all states."""

    def __init__(self, caller: Caller) -> None:
        word, unsigned = ctypes.c_int64, ctypes.c_uint64
        self.caller = caller
        self.scratch = (ctypes.c_char * SCRATCH_BYTES)()
        buffer = memoryview(self.scratch).cast("B")

        def copy(direction: int, vaddr: int, length_bytes: int) -> int:
            return caller.copy(direction, vaddr, buffer[:length_bytes])

        def look_up(name: bytes) -> int:
            return caller.look_up(name.decode("latin-1"))

        made: dict[str, Any] = {
            f"call{arity}": ctypes.CFUNCTYPE(word, word, *[unsigned] * arity)(caller.perform)
            for arity in range(7)
        }
        made["copy"] = ctypes.CFUNCTYPE(word, word, unsigned, word)(copy)
        made["look"] = ctypes.CFUNCTYPE(word)(caller.look)
        made["abandon"] = ctypes.CFUNCTYPE(word)(caller.abandon)
        made["look_up"] = ctypes.CFUNCTYPE(word, ctypes.c_char_p)(look_up)
        self._kept = made
        self.addresses = {
            name.encode(): ctypes.cast(function, ctypes.c_void_p).value
            for name, function in made.items()
        }
        self.addresses[b"scratch"] = ctypes.addressof(self.scratch)
        self.addresses[b"scratch_bytes"] = SCRATCH_BYTES


class Refused(Exception):
    """There is no state for this text: why."""


class State:
    """A script with its globals."""

    __slots__ = (
        "_explain",
        "_forget",
        "_go_on",
        "_load",
        "_runtime",
        "_source",
        "_start",
        "_why",
        "charged_bytes",
        "looks",
    )

    def __init__(self, doors: Doors, limits: Limits, source: bytes) -> None:
        STATE.made()
        self.charged_bytes = limits.reserved_bytes
        STATE.grew(self.charged_bytes)
        self.looks = max(1, min(MOST_LOOKS, LOOKS_CHARACTERS // (len(source) + 1)))
        try:
            text = instrument(source.decode("latin-1")).encode("latin-1")
            made = self._prepare(doors, limits)
        except (BadScript, LuaMemoryError, LuaError) as error:
            raise Refused(str(error)) from None
        self._start, self._go_on = made[b"start"], made[b"go_on"]
        self._load, self._forget, self._explain = made[b"load"], made[b"forget"], made[b"explain"]
        self._source = HEADER.encode() + text
        self._why = ""

    def _prepare(self, doors: Doors, limits: Limits) -> Any:
        """A state with the script's environment; what the prelude gives."""
        self._runtime = runtime = LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=False,
            max_memory=limits.memory_bytes,
        )
        addresses = runtime.table_from(doors.addresses)
        settings = (limits.jit, self.looks, BLOCKED, FAILED, STOPPED)
        originals = runtime.globals()
        compiled = originals[b"loadstring"]
        made = compiled(_text("prelude.lua"), CHUNK)(addresses, *settings)
        compiled(_library(), CHUNK)(
            self.looks,
            made[b"look_at_clock"],
            *(originals[name] for name in (b"string", b"table", b"math")),
            made[b"env"],
            made[b"text"],
        )
        return made

    def __del__(self) -> None:
        STATE.grew(-getattr(self, "charged_bytes", 0))
        STATE.freed()

    @property
    def used_bytes(self) -> int:
        """What LuaJIT has allocated for it now."""
        return int(self._runtime.get_memory_used(total=True))

    def load(self) -> int:
        """Run the top level."""
        source, self._source = self._source, b""
        return self._guarded(self._load, source)

    def start(self, slot: int, arguments: tuple[int, ...]) -> int:
        """Call `run`."""
        return self._guarded(self._start, slot, *arguments)

    def resume(self, slot: int, result: int) -> int:
        """Go on with the result of the call that blocked."""
        return self._guarded(self._go_on, slot, result)

    def forget(self, slot: int) -> None:
        """Drop the coroutine of a call that will not go on."""
        self._forget(slot)

    def explain(self) -> Failure:
        """Why it failed."""
        why = self._why or self._explain().decode("latin-1")
        return Failure(why, why.endswith(OUT_OF_MEMORY))

    def _guarded(self, function: Any, *arguments: int | bytes) -> int:
        """Into Lua: what is raised there, outside of any script's own protection, is a failure."""
        self._why = ""
        try:
            return int(function(*arguments))
        except LuaMemoryError:
            self._why = OUT_OF_MEMORY
        except LuaError as error:
            self._why = str(error)
        return FAILED
