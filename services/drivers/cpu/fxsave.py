"""The x87 and SSE state as FXSAVE's 512 bytes (Intel SDM vol. 1, section 10.5.1).

The image holds ST(i), counted from the top of the stack; the engine's registers and the tag word
are physical. No hook may run while these are used: they go through the documented interface.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from unicorn import x86_const as x86

if TYPE_CHECKING:
    from services.drivers.cpu.probe import Layout

BYTES = 512
CONTROL_DEFAULT = 0x37F
MXCSR_DEFAULT, MXCSR_MASK = 0x1F80, 0xFFFF
_XMM_AT, _ST_AT = 160, 32


def save(uc: Any, state: memoryview, layout: Layout) -> bytes:
    """The FXSAVE image of the loaded context."""
    image = bytearray(BYTES)
    control, status = uc.reg_read(x86.UC_X86_REG_FPCW), uc.reg_read(x86.UC_X86_REG_FPSW)
    tags = _abridge(uc.reg_read(x86.UC_X86_REG_FPTAG))
    struct.pack_into("<HHB", image, 0, control, status, tags)
    top = status >> 11 & 7
    struct.pack_into("<II", image, 24, uc.reg_read(x86.UC_X86_REG_MXCSR), MXCSR_MASK)
    for i in range(8):
        mantissa, exponent = uc.reg_read(x86.UC_X86_REG_FP0 + (top + i) % 8)
        struct.pack_into("<QH", image, _ST_AT + 16 * i, mantissa, exponent)
    for i in range(16):
        at = layout.xmm + i * layout.xmm_stride
        image[_XMM_AT + 16 * i : _XMM_AT + 16 * i + 16] = state[at : at + 16]
    return bytes(image)


def load(uc: Any, state: memoryview, layout: Layout, image: bytes) -> None:
    """Put an FXSAVE image into the loaded context."""
    control, status, tags = struct.unpack_from("<HHB", image, 0)
    uc.reg_write(x86.UC_X86_REG_FPCW, control)
    uc.reg_write(x86.UC_X86_REG_FPSW, status)
    top = status >> 11 & 7
    for i in range(8):
        mantissa, exponent = struct.unpack_from("<QH", image, _ST_AT + 16 * i)
        uc.reg_write(x86.UC_X86_REG_FP0 + (top + i) % 8, (mantissa, exponent))
    uc.reg_write(x86.UC_X86_REG_FPTAG, _expand(tags))
    uc.reg_write(x86.UC_X86_REG_MXCSR, struct.unpack_from("<I", image, 24)[0] & MXCSR_MASK)
    for i in range(16):
        at = layout.xmm + i * layout.xmm_stride
        state[at : at + 16] = image[_XMM_AT + 16 * i : _XMM_AT + 16 * i + 16]


def _abridge(tags: int) -> int:
    """FXSAVE keeps one bit a register: set where the full tag is not 'empty' (3)."""
    return sum(1 << i for i in range(8) if (tags >> 2 * i) & 3 != 3)


def _expand(bits: int) -> int:
    return sum((0 if bits >> i & 1 else 3) << 2 * i for i in range(8))
