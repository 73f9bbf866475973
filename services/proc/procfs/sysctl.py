"""/proc/sys: values of the kernel that can be read, and a few that root can set (proc(5))."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.entropy.api import Draw
from services.net.api import READ_ONLY_SETTINGS, SETTINGS, ChangeSetting, Setting
from services.proc import identity
from services.proc.files.device import ENTROPY_BITS
from services.proc.files.pipe_core import MAX_BYTES as PIPE_MAX_BYTES
from services.proc.files.unix.endpoint import MAX_DGRAM_QLEN
from services.proc.kernel import PID_MAX
from services.proc.procfs.entry import Entry, Folder, Text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.proc.procfs.entry import Spot

HOSTNAME_MAX = 64
NGROUPS_MAX, CAP_LAST_CAP, OVERFLOW_ID = 65536, 40, 65534
NR_OPEN, FILE_MAX = 1 << 20, (1 << 63) - 1
MAX_MAP_COUNT = 65530


def value(of: Callable[[Spot], bytes | int]) -> Callable[[Spot], Awaitable[bytes]]:
    """A file of one line."""

    async def read(spot: Spot) -> bytes:
        shown = of(spot)
        return (b"%d" % shown if isinstance(shown, int) else shown) + b"\n"

    return read


def knob(name: bytes, of: Callable[[Spot], bytes | int]) -> Text:
    """A value that nobody can set here."""
    return Text(name=name, mode=0o444, system=True, read=value(of))


def format_uuid(raw: bytes) -> bytes:
    """A random UUID of 16 random bytes (RFC 4122, version 4)."""
    raw = raw[:6] + bytes((raw[6] & 0x0F | 0x40, raw[7], raw[8] & 0x3F | 0x80)) + raw[9:]
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])).encode()


async def uuid(spot: Spot) -> bytes:
    """random/uuid: another one at each read."""
    return format_uuid(await spot.kernel.entropy.call(Draw(16))) + b"\n"


async def set_hostname(spot: Spot, data: bytes) -> None:
    """kernel/hostname, as sethostname(2)."""
    name = data.split(b"\n")[0].split(b"\0")[0]
    if len(name) > HOSTNAME_MAX:
        raise PosixError(EINVAL)
    spot.kernel.hostname = name


def open_files(spot: Spot) -> bytes:
    """fs/file-nr: open file descriptions, free ones, and how many there may be."""
    tables = [p.descriptors for p in spot.kernel.processes.values() if p.descriptors is not None]
    files = {id(slot.file) for table in tables for slot in table.slots.values()}
    return b"%d\t0\t%d" % (len(files), FILE_MAX)


def folder(name: bytes, *entries: Entry) -> Folder:
    """A directory of it."""
    return Folder(name=name, mode=0o555, system=True, entries=list(entries))


def net_setting(name: str, mode: int) -> Text:
    """A value of the network's, asked of it."""

    async def show(spot: Spot) -> bytes:
        return await spot.kernel.net.call(Setting(name))

    async def change(spot: Spot, data: bytes) -> None:
        await spot.kernel.net.call(ChangeSetting(name, data))

    last = name.rpartition("/")[2].encode()
    return Text(
        name=last, mode=mode, system=True, read=show, write=change if mode & 0o222 else None
    )


def net_entries() -> list[Entry]:
    """The tree of net/, by the names that net knows."""
    modes = dict.fromkeys(READ_ONLY_SETTINGS, 0o444) | dict.fromkeys(SETTINGS, 0o644)
    top = folder(b"net")
    for name, mode in sorted((modes | {"ipv4/route/flush": 0o200}).items()):
        here = top
        for step in name.split("/")[:-1]:
            inner = here.named(step.encode())
            if inner is None:
                here.entries.append(inner := folder(step.encode()))
            assert isinstance(inner, Folder)
            here = inner
        here.entries.append(net_setting(name, mode))
    unix = folder(b"unix", knob(b"max_dgram_qlen", lambda spot: MAX_DGRAM_QLEN))
    return [*top.entries, unix]


SYS = folder(
    b"sys",
    folder(
        b"fs",
        knob(b"file-max", lambda spot: FILE_MAX),
        knob(b"file-nr", open_files),
        knob(b"nr_open", lambda spot: NR_OPEN),
        knob(b"pipe-max-size", lambda spot: PIPE_MAX_BYTES),
    ),
    folder(
        b"kernel",
        knob(b"cap_last_cap", lambda spot: CAP_LAST_CAP),
        knob(b"domainname", lambda spot: spot.kernel.domainname),
        Text(
            name=b"hostname",
            mode=0o644,
            system=True,
            read=value(lambda spot: spot.kernel.hostname),
            write=set_hostname,
        ),
        knob(b"ngroups_max", lambda spot: NGROUPS_MAX),
        knob(b"osrelease", lambda spot: identity.RELEASE),
        knob(b"ostype", lambda spot: identity.SYSNAME),
        knob(b"overflowgid", lambda spot: OVERFLOW_ID),
        knob(b"overflowuid", lambda spot: OVERFLOW_ID),
        knob(b"pid_max", lambda spot: PID_MAX),
        folder(
            b"random",
            knob(b"boot_id", lambda spot: spot.kernel.extra["procfs"].boot_id),
            knob(b"entropy_avail", lambda spot: ENTROPY_BITS),
            knob(b"poolsize", lambda spot: ENTROPY_BITS),
            Text(name=b"uuid", mode=0o444, system=True, read=uuid),
        ),
        knob(b"randomize_va_space", lambda spot: 0),
        knob(b"version", lambda spot: identity.VERSION),
    ),
    folder(b"net", *net_entries()),
    folder(
        b"vm",
        knob(b"max_map_count", lambda spot: MAX_MAP_COUNT),
        knob(b"overcommit_memory", lambda spot: 1),
    ),
)
"""overcommit_memory is 1 and randomize_va_space 0: that is how vm and execve behave."""
