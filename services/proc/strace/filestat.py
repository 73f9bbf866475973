"""Formats of file metadata: stat, statx, statfs, directory entries, extended attributes, mounts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .buffers import FILLED, STRING
from .model import Out
from .tables import files as t
from .text import (
    address,
    device,
    hexadecimal,
    members,
    mode,
    octal,
    quote,
    quote_hex,
    unsigned,
)

if TYPE_CHECKING:
    from .model import Ctx, Format

_STAT_BYTES = 144
_STATX_BYTES = 256
_STATFS = struct.Struct("<QQQQQQQiiQQQ32x")
_OPEN_HOW = struct.Struct("<QQQ")
S_IFMT, S_IFCHR, S_IFBLK = 0o170000, 0o020000, 0o060000
O_CREAT, O_TMPFILE = 0o100, 0o20000000
AT_STATX_SYNC_TYPE = 0x6000
STATX_TYPE_MODE, STATX_SIZE = 3, 0x200
XATTR_SIZE_MAX = 65536
MS_MGC_VAL, MS_MGC_MSK = 0xC0ED0000, 0xFFFF0000
MS_REMOUNT, MS_BIND, MS_MOVE, MS_PROPAGATION = 0x20, 0x1000, 0x2000, 0x1E0000


def open_flags(word: int) -> str:
    """Write open's flags, access mode first."""
    names = [t.OPEN_MODES.value(word & 3)]
    found, rest = t.OPEN_FLAGS.split(word & ~3)
    if found:
        names += found
    if rest:
        names.append(f"{rest:#x}")
    return "|".join(names)


def OPEN_FLAGS(word: int, ctx: Ctx) -> str:
    """Write open's flags."""
    return open_flags(unsigned(word))


def open_mode(flags_arg: int) -> Format:
    """Make the format of the mode that only an open that may create a file has."""

    def render(word: int, ctx: Ctx) -> str:
        creates = ctx.args[flags_arg] & (O_CREAT | 0x400000)
        return octal(unsigned(word, 16)) if creates else ""

    return render


def OPEN_HOW(word: int, ctx: Ctx) -> str:
    """Write openat2's struct open_how."""
    size = ctx.args[3]
    raw = ctx.fetch(word, _OPEN_HOW.size) if size >= _OPEN_HOW.size else None
    if raw is None:
        return address(word)
    bits, permissions, resolve = _OPEN_HOW.unpack(raw)
    fields = {"flags": open_flags(bits)}
    if bits & (O_CREAT | 0x400000) or permissions:
        fields["mode"] = octal(permissions)
    fields["resolve"] = t.RESOLVE_FLAGS.flags(resolve)
    return _extended(members(**fields), word, _OPEN_HOW.size, size, ctx)


def _extended(text: str, vaddr: int, known: int, size: int, ctx: Ctx) -> str:
    """Add what a structure holds beyond the size that is known, unless it is zero."""
    return text[:-1] + extension(vaddr, known, size, ctx) + "}"


def extension(vaddr: int, known: int, size: int, ctx: Ctx) -> str:
    """Write the bytes of a structure from `known` to `size`, unless they are all zero."""
    if size <= known:
        return ""
    shown = min(size, 4096)
    rest = ctx.peek(vaddr + known, shown - known)
    if rest is None:
        return ", ???"
    if not any(rest):
        return ""
    limit = ctx.string_limit
    content = quote_hex(rest[:limit], more=len(rest) > limit)
    return f", /* bytes {known}..{shown - 1} */ {content}"


def _stat(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, _STAT_BYTES)
    if raw is None:
        return address(word)
    bits, rdev, size = struct.unpack_from("<I12xQQ", raw, 24)
    if bits & S_IFMT in (S_IFCHR, S_IFBLK):
        return f"{{st_mode={mode(bits)}, st_rdev={device(rdev)}, ...}}"
    return f"{{st_mode={mode(bits)}, st_size={size}, ...}}"


STAT = Out(_stat)


def STATX_FLAGS(word: int, ctx: Ctx) -> str:
    """Write statx's flags, how fresh the answer must be first."""
    word = unsigned(word)
    names, rest = t.AT_FLAGS.split(word & ~AT_STATX_SYNC_TYPE)
    parts = [t.AT_STATX_SYNC.flags(word & AT_STATX_SYNC_TYPE), *names]
    return "|".join([*parts, *([f"{rest:#x}"] if rest else [])])


def _statx(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, _STATX_BYTES)
    if raw is None:
        return address(word)
    mask, attributes, bits, size = struct.unpack_from("<I4xQ12xH10xQ", raw)
    text = members(
        stx_mask=t.STATX_MASK.flags(mask),
        stx_attributes=t.STATX_ATTR.flags(attributes),
        **({"stx_mode": mode(bits)} if mask & STATX_TYPE_MODE else {}),
    )
    length = f", stx_size={size}" if mask & STATX_SIZE else ""
    return f"{text[:-1]}{length}, ...}}"


STATX = Out(_statx)


def _statfs(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, _STATFS.size)
    if raw is None:
        return address(word)
    kind, bsize, blocks, bfree, bavail, files, ffree, id0, id1, namelen, frsize, bits = (
        _STATFS.unpack(raw)
    )
    identity = f"[{hexadecimal(unsigned(id0))}, {hexadecimal(unsigned(id1))}]"
    fields = {
        "f_type": t.STATFS_TYPES.value(kind),
        "f_bsize": str(bsize),
        "f_blocks": str(blocks),
        "f_bfree": str(bfree),
        "f_bavail": str(bavail),
        "f_files": str(files),
        "f_ffree": str(ffree),
        "f_fsid": f"{{val={identity}}}",
        "f_namelen": str(namelen),
        "f_frsize": str(frsize),
    }
    if bits & 0x20:
        fields["f_flags"] = t.STATFS_FLAGS.flags(bits)
    return members(**fields)


STATFS = Out(_statfs)


def _entries(word: int, header: int, ctx: Ctx) -> str:
    size = ctx.result or 0
    if ctx.failed or size > unsigned(ctx.args[2]):
        return address(word)
    content = ctx.peek(word, size) if size else b""
    if content is None:
        return f"{address(word)} /* 0+ entries */"
    count = offset = 0
    comment, more = "", ""
    while offset < size:
        if offset + header > size:
            more = "+"
            break
        length = int.from_bytes(content[offset + 16 : offset + 18], "little")
        count += 1
        if length < header:
            comment = f" /* d_reclen {header - length} bytes underflow */"
            more = "+" if offset + header < size else ""
            break
        if offset + length > size:
            comment = f" /* d_reclen {offset + length - size} bytes overflow */"
        offset += length
    return f"{address(word)}{comment} /* {count}{more} entries */"


OLD_ENTRIES = Out(lambda word, ctx: _entries(word, 18, ctx))
DIRECTORY_ENTRIES = Out(lambda word, ctx: _entries(word, 19, ctx))
"""Directory entries, summed up; they differ in the size of what stands before a name."""


def _attribute(word: int, length: int, ctx: Ctx) -> str:
    if not word:
        return "NULL"
    known = length <= XATTR_SIZE_MAX
    shown = ctx.peek(word, min(length, ctx.string_limit)) if known else None
    if shown is None:
        return address(word)
    if shown[-1:] == b"\0":
        return quote(shown[:-1])
    return quote(shown, more=length > ctx.string_limit)


def ATTRIBUTE(word: int, ctx: Ctx) -> str:
    """Write the value of an extended attribute that is set."""
    return _attribute(word, ctx.args[3], ctx)


def _got_attribute(word: int, ctx: Ctx) -> str:
    return address(word) if ctx.failed else _attribute(word, ctx.result or 0, ctx)


GOT_ATTRIBUTE = Out(_got_attribute)


def attribute_names(size_arg: int) -> Out:
    """Make the format of a buffer for the names of attributes; one of no size is left bare."""
    return Out(lambda word, ctx: FILLED.render(word, ctx) if ctx.args[size_arg] else address(word))


def MKNOD_MODE(word: int, ctx: Ctx) -> str:
    """Write mknod's mode, with the type of the file."""
    return mode(unsigned(word, 16))


def mknod_device(mode_arg: int) -> Format:
    """Make the format of mknod's device, which only device nodes have."""

    def render(word: int, ctx: Ctx) -> str:
        is_device = ctx.args[mode_arg] & S_IFMT in (S_IFCHR, S_IFBLK)
        return device(unsigned(word)) if is_device else ""

    return render


def MOUNT_FLAGS(word: int, ctx: Ctx) -> str:
    """Write mount's flags."""
    if word & MS_MGC_MSK != MS_MGC_VAL:
        return t.MOUNT_FLAGS.flags(word)
    rest = word & ~MS_MGC_MSK
    return "MS_MGC_VAL" + (f"|{t.MOUNT_FLAGS.flags(rest)}" if rest else "")


def _mount_flags(ctx: Ctx) -> int:
    word = ctx.args[3]
    return word & ~MS_MGC_MSK if word & MS_MGC_MSK == MS_MGC_VAL else word


def MOUNT_TYPE(word: int, ctx: Ctx) -> str:
    """Write mount's file system type, a bare pointer where mount does not look at it."""
    unread = _mount_flags(ctx) & (MS_REMOUNT | MS_BIND | MS_MOVE | MS_PROPAGATION)
    return address(word) if unread else STRING(word, ctx)


def MOUNT_OPTIONS(word: int, ctx: Ctx) -> str:
    """Write mount's options, a bare pointer where mount does not look at them."""
    bits = _mount_flags(ctx)
    unread = bits & (MS_BIND | MS_MOVE | MS_PROPAGATION) and not bits & MS_REMOUNT
    return address(word) if unread else STRING(word, ctx)


def MEMFD_FLAGS(word: int, ctx: Ctx) -> str:
    """Write memfd_create's flags, with the size of its huge pages."""
    word = unsigned(word)
    size, rest = word >> 26, word & (1 << 26) - 1
    parts = [t.MFD_FLAGS.flags(rest)] if rest or not size else []
    return "|".join([*parts, *([f"{size}<<MFD_HUGE_SHIFT"] if size else [])])
