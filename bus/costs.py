"""What an object costs in bytes, found by building some and looking at all that came with them.

`cost_of` builds two groups of the same size and walks everything that they refer to. What both
have in common (classes, shared tables, the kernel they belong to, small integers) is met in the
first group, so the second adds only what each object has for itself. The allocator's own rounding
is part of the price: pymalloc hands out multiples of 16 bytes, and above 512 bytes the C library
adds a header (glibc's malloc; CPython's Objects/obmalloc.c).
"""

from __future__ import annotations

import gc
import inspect
import types
from sys import getsizeof
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GROUP = 8
ALIGNMENT = 16
SMALL_BYTES = 512
HEADER_BYTES = 8
GENERATOR_BYTES = types.CoroutineType.__basicsize__ + 16
"""A coroutine or generator with the fixed part of its frame, and the collector's header."""

_SHARED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.FrameType,
    memoryview,
)
"""What no kernel object has for itself; frames of running code lead everywhere."""


def block_bytes(size_bytes: int) -> int:
    """What the allocator takes for a block of `size_bytes`."""
    if size_bytes > SMALL_BYTES:
        size_bytes += HEADER_BYTES
    return (size_bytes + ALIGNMENT - 1) & -ALIGNMENT


def walk(roots: Iterable[object], seen: set[int]) -> int:
    """Bytes of everything that `roots` lead to and that is not in `seen` yet, where it then is."""
    total = 0
    stack = list(roots)
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, _SHARED):
            continue
        seen.add(id(item))
        total += block_bytes(getsizeof(item))
        stack += gc.get_referents(item)
    return total


def coroutine_bytes(function: Callable[..., object]) -> int:
    """What a running coroutine or generator takes with its frame, which getsizeof leaves out."""
    code = inspect.unwrap(function).__code__
    variables = len(code.co_varnames) + len(code.co_cellvars) + len(code.co_freevars)
    return block_bytes(GENERATOR_BYTES + 8 * (variables + code.co_stacksize))


def cost_of(build: Callable[[], object], group: int = GROUP) -> int:
    """Bytes that one more of what `build` makes takes, rounded up."""
    first = [build() for _ in range(group)]
    second = [build() for _ in range(group)]
    seen: set[int] = set()
    walk(first, seen)
    return -(-walk(second, seen) // group)
