"""System call scripting from Python: a script is an object that is called.

    run = Script("function run(a, b) return syscall.getpid() * a + b end")
    run(10, 1)

Arguments are integers, or `ctypes` buffers, whose address is passed. OSError as for any system
call; ScriptError (an OSError with ENOEXEC) says why the script failed.
"""

from __future__ import annotations

import ctypes
import errno
import os

REGISTER_LUA_SYSCALL, LUA_SYSCALL = 500, 501
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long] * 7


class ScriptError(OSError):
    """The script itself failed."""


def _call(number: int, *words: int) -> int:
    result = _libc.syscall(number, *words, *[0] * (6 - len(words)))
    if result == -1 and (code := ctypes.get_errno()):
        raise OSError(code, os.strerror(code))
    return result


def _word(value: object) -> int:
    return value if isinstance(value, int) else ctypes.addressof(value)


class Script:
    """A Lua state in the kernel; `close`, or the end of the object, frees it."""

    def __init__(self, source: str | bytes) -> None:
        self.fd = -1
        text = source.encode() if isinstance(source, str) else source
        kept = ctypes.create_string_buffer(text, len(text))
        self.fd = _call(REGISTER_LUA_SYSCALL, ctypes.addressof(kept), len(text))

    def __call__(self, *values: object) -> int:
        """Run it."""
        words = [_word(value) for value in values]
        given = [*words[:3], *[0] * (3 - len(words[:3]))]
        rest = (ctypes.c_long * max(len(words) - 3, 1))(*words[3:])
        fourth = rest[0] if len(words) <= 4 else ctypes.addressof(rest)
        ctypes.set_errno(0)
        try:
            return _call(LUA_SYSCALL, self.fd, len(words), *given, fourth)
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                why = os.pread(self.fd, 1024, 0).decode("latin-1")
                raise ScriptError(errno.ENOEXEC, why) from None
            raise

    def close(self) -> None:
        """Free the state."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()
