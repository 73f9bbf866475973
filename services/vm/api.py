"""What other services may ask of virtual memory, and how they look at user memory.

An address space is an integer. Its page tables are real x86-64 four-level tables in RAM, rooted
at `SpaceReply.root_paddr` (the value of CR3). The user half is 0 to `USER_TOP`; the kernel half
is the same in every space.

vm never calls the file system: a fault on a page of a file is answered with `NeedPages`, and proc
gets the frames from fs and hands them over with `InstallPages`. So the ranks have no cycle.
Files are named by fs node numbers. A space counts its own references to each: `acquired` says
that a reply made the first one (the caller's reference is now the space's), `dropped` lists nodes
whose last one went (the caller must release them at fs).

Changes that narrow a mapping ring the RAM's doorbell; filling an absent entry does not need it.

Besides messages: `UserMemory` looks at a space through its tables, `code_flags` and
`reference_counts` at vm's own arrays in RAM. Any process that shares the RAM may use them.
"""

from __future__ import annotations

from errno import EACCES, EEXIST, EFAULT, EINVAL, ENOMEM

import attrs

from bus.message import Request, request
from services.vm.paging import ACCESS_FETCH as ACCESS_FETCH
from services.vm.paging import ACCESS_READ as ACCESS_READ
from services.vm.paging import ACCESS_WRITE as ACCESS_WRITE
from services.vm.paging import PAGE_BYTES as PAGE_BYTES
from services.vm.paging import PROT_EXEC as PROT_EXEC
from services.vm.paging import PROT_NONE as PROT_NONE
from services.vm.paging import PROT_READ as PROT_READ
from services.vm.paging import PROT_WRITE as PROT_WRITE
from services.vm.paging import PTE_A as PTE_A
from services.vm.paging import PTE_D as PTE_D
from services.vm.paging import PTE_FRAME as PTE_FRAME
from services.vm.paging import PTE_NX as PTE_NX
from services.vm.paging import PTE_P as PTE_P
from services.vm.paging import PTE_SHARED as PTE_SHARED
from services.vm.paging import PTE_U as PTE_U
from services.vm.paging import PTE_W as PTE_W
from services.vm.paging import USER_TOP as USER_TOP
from services.vm.paging import code_flags as code_flags
from services.vm.paging import reference_counts as reference_counts
from services.vm.usermem import PageMiss as PageMiss
from services.vm.usermem import UserMemory as UserMemory

MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 0x01, 0x02, 0x10, 0x20
MAP_GROWSDOWN, MAP_NORESERVE, MAP_POPULATE, MAP_STACK = 0x100, 0x4000, 0x8000, 0x20000
MAP_FIXED_NOREPLACE = 0x100000
MAP_32BIT = 0x40
MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
FORK_OMIT, FORK_WIPE = 1, 2


@attrs.frozen
class SpaceReply:
    """A new address space; `files` are the nodes it refers to (each needs a reference at fs)."""

    space: int
    root_paddr: int
    files: tuple[int, ...] = ()


@request("vm", errors=(ENOMEM,))
class CreateSpace(Request[SpaceReply]):
    """Make an empty address space."""


@request("vm", errors=(ENOMEM,))
class ForkSpace(Request[SpaceReply]):
    """fork(2): a copy-on-write copy of `space`."""

    space: int


@request("vm")
class DestroySpace(Request[tuple[int, ...]]):
    """Drop every mapping and the tables; replies with the dropped nodes. Never fails."""

    space: int


@attrs.frozen
class MapReply:
    """Where a mapping lies, and what became of the references to files."""

    vaddr: int
    acquired: bool = False
    dropped: tuple[int, ...] = ()


@request("vm", errors=(EINVAL, ENOMEM, EEXIST, EACCES))
class Map(Request[MapReply]):
    """mmap(2). `vaddr` is a hint unless MAP_FIXED(_NOREPLACE) is in `flags`.

    `node` is None for private anonymous memory (shared anonymous memory is a nameless file of
    fs). `offset` is page-aligned. `may_write` is whether a shared mapping may ever become
    writable (the descriptor was opened for writing).
    """

    space: int
    vaddr: int
    length_bytes: int
    prot: int
    flags: int
    node: int | None = None
    offset: int = 0
    may_write: bool = True
    name: bytes = b""
    """Shown in /proc/PID/maps: a path, or [heap], [stack]."""


@request("vm", errors=(EINVAL, ENOMEM))
class Unmap(Request[tuple[int, ...]]):
    """munmap(2), whole or in part; replies with the dropped nodes."""

    space: int
    vaddr: int
    length_bytes: int


@request("vm", errors=(EINVAL, ENOMEM, EACCES))
class Protect(Request[None]):
    """mprotect(2): ENOMEM where something in the range is not mapped.

    With PROT_GROWSDOWN the range starts where the stack does that it lies in.
    """

    space: int
    vaddr: int
    length_bytes: int
    prot: int


@request("vm", errors=(EINVAL, ENOMEM, EFAULT))
class Remap(Request[MapReply]):
    """mremap(2): moves page-table entries, copies no page."""

    space: int
    vaddr: int
    old_bytes: int
    new_bytes: int
    flags: int
    new_vaddr: int = 0


@request("vm")
class SetLayout(Request[None]):
    """After exec: where the heap starts, and where the stack may grow down to."""

    space: int
    brk_start: int
    stack_top: int
    stack_limit_bytes: int
    mmap_top: int


@request("vm")
class SetStackLimit(Request[None]):
    """setrlimit(RLIMIT_STACK) of a running program: how far down its stack may grow from now on."""

    space: int
    limit_bytes: int


@request("vm")
class Brk(Request[int]):
    """brk(2): move the break to `vaddr` if possible; replies with the break as it now is."""

    space: int
    vaddr: int


@request("vm", errors=(EINVAL, ENOMEM))
class Discard(Request[None]):
    """madvise(MADV_DONTNEED): private pages are dropped and will read as new.

    MADV_FREE is for anonymous memory only: EINVAL at the first region that is not.
    """

    space: int
    vaddr: int
    length_bytes: int
    anonymous_only: bool = False


@request("vm", errors=(EINVAL, ENOMEM))
class AtFork(Request[None]):
    """madvise(2): what a child of fork(2) gets of a range; bits FORK_OMIT and FORK_WIPE.

    Only private anonymous memory can be wiped (EINVAL).
    """

    space: int
    vaddr: int
    length_bytes: int
    add: int
    remove: int = 0


@attrs.frozen
class NeedPages:
    """The fault is on a file's page that is not mapped: fetch these and install them.

    The pages `first` to `first + count - 1` of `node` belong at `vaddr` (page-aligned) onwards;
    the faulting one is `wanted`. `for_write` is true where the file itself will be written
    (shared mapping): fs must hand out a page that it will keep.
    """

    node: int
    first: int
    count: int
    wanted: int
    vaddr: int
    for_write: bool


@attrs.frozen
class Resolved:
    """The access may be tried again."""


@attrs.frozen
class Violation:
    """The access is wrong: a signal (SIGSEGV with its si_code, or SIGBUS)."""

    signal: int
    code: int


@attrs.frozen
class NoMemory:
    """No frame is free: make room (caches), then try again or kill."""


FaultReply = Resolved | NeedPages | Violation | NoMemory


@request("vm")
class Fault(Request[FaultReply]):
    """A user access to `vaddr` was refused by the page tables; `access` is one ACCESS_ bit."""

    space: int
    vaddr: int
    access: int


@request("vm", errors=(ENOMEM,))
class InstallPages(Request[FaultReply]):
    """Map frames of a file as `NeedPages` asked; `pfns` starts at page `first`, 0 for a hole.

    Private mappings get them read-only (copied when written); where `access` is ACCESS_WRITE on a
    private mapping the wanted page is copied at once. A wanted page past the end of the file
    (pfns too short) is answered with Violation(SIGBUS).
    """

    space: int
    need: NeedPages
    pfns: tuple[int, ...]
    access: int
    major: bool = False
    """Whether getting them took a device (getrusage(2) counts such faults apart)."""


@request("vm", errors=(ENOMEM,))
class AllocFrames(Request[tuple[int, ...]]):
    """`count` frames with one reference each, neighbours where possible; zeroed if asked."""

    count: int
    zero: bool


@request("vm")
class FreeFrames(Request[None]):
    """Drop one reference of each frame."""

    pfns: tuple[int, ...]


@request("vm")
class UnmapNode(Request[None]):
    """A file shrank to `from_page` pages: drop its pages from there on from every space."""

    node: int
    from_page: int


@request("vm")
class UnmapFrames(Request[None]):
    """Drop these frames of a file from every mapping: the next access asks for the page again.

    For frames of pages that fs holds for clean: those were not given out for writing, so no
    mapping has written to them, and no private copy is among them.
    """

    node: int
    pfns: tuple[int, ...]


@attrs.frozen
class RegionInfo:
    """One line of /proc/PID/maps."""

    start: int
    end: int
    prot: int
    shared: bool
    node: int | None
    offset: int
    name: bytes
    resident_pages: int
    dirty_pages: int = 0
    """Written through a shared mapping; of a private one, the pages that nobody else holds."""
    may_write: bool = True
    """Whether it is, or mprotect(2) may make it, writable."""


@request("vm", idempotent=True)
class Regions(Request[tuple[RegionInfo, ...]]):
    """The regions of a space in ascending order."""

    space: int


@attrs.frozen
class SpaceUsage:
    """Sizes in bytes and counts since the space was made (statm, getrusage)."""

    virtual_bytes: int
    resident_bytes: int
    data_bytes: int
    stack_bytes: int
    minor_faults: int
    major_faults: int
    regions: int


@request("vm", idempotent=True)
class Usage(Request[SpaceUsage]):
    """How much a space holds."""

    space: int


@attrs.frozen
class DirtyRun:
    """Pages of a shared file mapping that the cores have written since they were last asked."""

    node: int
    first_page: int
    count: int


@request("vm", errors=(ENOMEM, EINVAL))
class CollectDirty(Request[tuple[DirtyRun, ...]]):
    """msync(2): report and clear the dirty bits of shared file mappings in a range."""

    space: int
    vaddr: int
    length_bytes: int


@request("vm")
class CollectNode(Request[tuple[DirtyRun, ...]]):
    """Like `CollectDirty` for all mappings of a node in all spaces (fsync(2), write-back).

    Whoever is about to treat pages of a file as clean asks this first: afterwards no mapping can
    write to them without a fault that asks for the page for writing.
    """

    node: int


@request("vm", errors=(ENOMEM,), idempotent=True)
class Resident(Request[bytes]):
    """mincore(2): one byte a page, 1 if resident; ENOMEM where something is not mapped."""

    space: int
    vaddr: int
    length_bytes: int


@attrs.frozen
class FrameCounts:
    """The physical allocator's state, in frames."""

    total: int
    free: int
    spaces: int
    faults: int


@request("vm", idempotent=True)
class Frames(Request[FrameCounts]):
    """How many frames there are and how many are free."""
