"""register_lua_syscall and lua_syscall: system calls that programs write themselves.

Koomsin and Shinjo, "Running Application Specific Kernel Code by a Just-In-Time Compiler" (PLoS
2015), section 2.2. The numbers are Hardtack's own; Linux has none.
"""

from __future__ import annotations

import struct
from errno import E2BIG, EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc import scripts
from services.proc.abi import s64
from services.proc.calls.files import install
from services.proc.files.script import ScriptFile
from services.proc.table import syscall
from services.script.api import MOST_ARGUMENTS, MOST_SOURCE_BYTES
from services.vm.api import PageMiss

if TYPE_CHECKING:
    from services.proc.task import Thread

REGISTER_NUMBER, LUA_NUMBER = 500, 501
_WORDS = [struct.Struct(f"<{count}q") for count in range(MOST_ARGUMENTS)]
IN_REGISTERS = 4
"""Arguments of the script that come in registers; of more, the fourth register is the address of
the fourth argument and those after it, in words of 64 bits."""


@syscall(REGISTER_NUMBER, "register_lua_syscall")
async def sys_register_lua_syscall(t: Thread, script: int, size: int) -> int:
    """A descriptor for a new Lua state with the script.

    EINVAL: no Lua, or its top level failed, or it defines no run(); E2BIG: over 64 KiB.
    """
    if size > MOST_SOURCE_BYTES:
        raise PosixError(E2BIG)
    return await install(t, await scripts.register(t, await t.copyin(script, size)), False)


@syscall(LUA_NUMBER, "lua_syscall", bound=0)
async def sys_lua_syscall(t: Thread, fd: int, count: int, a: int, b: int, c: int, d: int) -> int:
    """Run the script's run() with `count` signed words; what it returns is the result.

    EINVAL: no script, or more than 8 arguments; ENOEXEC: the script failed, read(2) says why.
    """
    file, count = t.file(fd), count & 0xFFFF_FFFF
    words: tuple[int, ...]
    if type(file) is not ScriptFile or count > MOST_ARGUMENTS:
        raise PosixError(EINVAL)
    if count <= IN_REGISTERS:
        words = (s64(a), s64(b), s64(c), s64(d))[:count]
    else:
        rest = count - IN_REGISTERS + 1
        try:
            more = t.space.memory.read_bytes(d, 8 * rest)
        except (PageMiss, PosixError):
            more = await t.copyin(d, 8 * rest)
        words = (s64(a), s64(b), s64(c), *_WORDS[rest].unpack(more))
    return await scripts.call(t, file, words, LUA_NUMBER)
