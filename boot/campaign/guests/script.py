"""Has a Lua function run in the kernel, again and again; "script N" for each right answer."""

from __future__ import annotations

import ctypes
import os

REGISTER, CALL = 500, 501
SOURCE = b"""
function run(a, b)
    local sum = 0
    for i = 1, 200 do sum = sum + i end
    return sum + syscall.getpid() * a + b
end
"""
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.syscall.argtypes = [ctypes.c_long] * 7
text = ctypes.create_string_buffer(SOURCE, len(SOURCE))


def register() -> int:
    fd: int = libc.syscall(REGISTER, ctypes.addressof(text), len(SOURCE), 0, 0, 0, 0)
    return fd


state, number = register(), 0
while True:
    number += 1
    other = register()
    for fd in (state, other):
        answer = libc.syscall(CALL, fd, 2, 10, number, 0, 0)
        if answer != 20100 + 10 * os.getpid() + number:
            problem = os.strerror(ctypes.get_errno()) if answer < 0 else answer
            print("script !", f"round {number}, descriptor {fd}: {problem}", flush=True)
    if other >= 0:
        os.close(other)
    print("script", number, flush=True)
