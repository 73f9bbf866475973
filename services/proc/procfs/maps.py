"""Address spaces in /proc/PID: maps, smaps, and the sums that stat and status show (proc(5))."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from services.fs.api import PathOf, StatNode
from services.vm.api import PROT_EXEC, PROT_READ, PROT_WRITE, Regions, Usage

if TYPE_CHECKING:
    from services.proc.procfs.entry import Spot
    from services.proc.task import Process
    from services.vm.api import RegionInfo

PAGE = 4096
NAME_COLUMN = 72
VM_FLAGS = ((PROT_READ, "rd"), (PROT_WRITE, "wr"), (PROT_EXEC, "ex"))


@attrs.frozen
class Sizes:
    """What a process's memory comes to, in bytes and counts."""

    virtual: int = 0
    resident: int = 0
    anonymous: int = 0
    file: int = 0
    shared: int = 0
    data: int = 0
    stack: int = 0
    text: int = 0
    libraries: int = 0
    code: tuple[int, int] = (0, 0)


async def sizes_of(process: Process) -> Sizes:
    """The sums over a process's regions; nothing for one that has no memory any more."""
    space = process.space
    if space is None:
        return Sizes()
    vm = process.kernel.vm
    usage = await vm.call(Usage(space.number))
    anonymous = file = shared = text = libraries = 0
    code = (0, 0)
    for region in await vm.call(Regions(space.number)):
        resident = region.resident_pages * PAGE
        if region.node is None:
            anonymous += resident
        elif region.shared and is_nameless(region):
            shared += resident
        else:
            private = 0 if region.shared else region.dirty_pages * PAGE
            anonymous += private
            file += resident - private
        if region.prot & PROT_EXEC and region.node is not None and not is_kernels(region):
            if region.node == process.exe:
                text += region.end - region.start
                code = code if code[1] else (region.start, region.end)
            else:
                libraries += region.end - region.start
    return Sizes(
        usage.virtual_bytes, usage.resident_bytes, anonymous, file, shared, usage.data_bytes,
        usage.stack_bytes, text, libraries, code,
    )  # fmt: skip


def is_nameless(region: RegionInfo) -> bool:
    """Shared anonymous memory, or a memfd: kept in a file that no path leads to."""
    return region.name.startswith((b"/dev/zero (deleted)", b"/memfd:"))


def is_kernels(region: RegionInfo) -> bool:
    """The time page and the vDSO: no file of the program's."""
    return region.name in (b"[vvar]", b"[vdso]")


async def _line(spot: Spot, region: RegionInfo, root: int) -> bytes:
    dev = ino = offset = 0
    name = region.name
    shared = region.shared
    if region.node is not None and is_kernels(region):
        shared = False  # as Linux shows [vvar], whoever shares it
    elif region.node is not None:
        offset = region.offset
        attr = await spot.kernel.fs.call(StatNode(region.node))
        dev, ino = attr.dev, attr.ino
        if not is_nameless(region):
            name = await spot.kernel.fs.call(PathOf(region.node, root))
    prot = region.prot
    head = b"%08x-%08x %s%s%s%s %08x %02x:%02x %d " % (
        region.start,
        region.end,
        b"r" if prot & PROT_READ else b"-",
        b"w" if prot & PROT_WRITE else b"-",
        b"x" if prot & PROT_EXEC else b"-",
        b"s" if shared else b"p",
        offset,
        os.major(dev),
        os.minor(dev),
        ino,
    )
    if not name:
        return head + b"\n"
    return head.ljust(NAME_COLUMN) + b" " + name.replace(b"\n", b"\\012") + b"\n"


async def _regions(spot: Spot) -> tuple[tuple[RegionInfo, ...], int]:
    """The regions, and the root that paths are shown from."""
    space, directories = spot.subject.space, spot.reader.process.directories
    if space is None or directories is None:
        return (), 0
    return await spot.kernel.vm.call(Regions(space.number)), directories.root


async def maps(spot: Spot) -> bytes:
    """maps."""
    regions, root = await _regions(spot)
    return b"".join([await _line(spot, region, root) for region in regions])


def _smaps_rows(region: RegionInfo) -> tuple[tuple[str, int], ...]:
    size, resident, dirty = (
        pages * PAGE >> 10
        for pages in (
            (region.end - region.start) // PAGE,
            region.resident_pages,
            region.dirty_pages,
        )
    )
    anonymous = resident if region.node is None else 0 if region.shared else dirty
    return (
        ("Size", size),
        ("KernelPageSize", PAGE >> 10),
        ("MMUPageSize", PAGE >> 10),
        ("Rss", resident),
        ("Shared_Clean", resident - dirty if region.node is not None else 0),
        ("Shared_Dirty", dirty if region.shared else 0),
        ("Private_Clean", 0),
        ("Private_Dirty", 0 if region.shared else dirty),
        ("Anonymous", anonymous),
        ("AnonHugePages", 0),
        ("Swap", 0),
        ("Locked", 0),
    )


async def smaps(spot: Spot) -> bytes:
    """smaps, without the sums that need a count of every page's users (Pss, Referenced)."""
    regions, root = await _regions(spot)
    blocks = []
    for region in regions:
        rows = "".join(f"{f'{name}:':16}{kib:8} kB\n" for name, kib in _smaps_rows(region))
        flags = " ".join(word for flag, word in VM_FLAGS if region.prot & flag)
        flags += " sh" if region.shared else ""
        blocks.append(await _line(spot, region, root) + rows.encode())
        blocks.append(f"VmFlags: {flags.strip()} \n".encode())
    return b"".join(blocks)
