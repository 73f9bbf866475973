"""The disk driver as the file system's `WaitingDevice`: each call is one request.

Several calls may be in flight at a time; the disk ends them in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.disk import api

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.core import Port
    from services.drivers.ram.api import Extent
    from services.fs.ext4.device import Write


class DiskPort:
    """See `services.fs.ext4.device.WaitingDevice`; made by `open_disk`."""

    def __init__(self, disk: Port, geometry: api.Geometry) -> None:
        self._disk = disk
        self.sectors = geometry.sectors
        self.read_only = geometry.read_only
        self.name = geometry.name
        self.prompt = False
        self.lasting = True

    async def read(self, sector: int, count: int) -> bytes:
        """`count` sectors from `sector`."""
        return await self._disk.call(api.ReadSectors(sector, count))

    async def read_into(self, runs: Sequence[tuple[int, Sequence[Extent]]]) -> None:
        """Read into RAM."""
        wanted = tuple((sector, tuple(extents)) for sector, extents in runs)
        await self._disk.call(api.Read(wanted))

    async def write(self, writes: Sequence[Write]) -> None:
        """Take a batch, as its content is now."""
        pieces = tuple((one.sector, bytes(one.data), one.fua) for one in writes)
        await self._disk.call(api.Write(pieces))

    async def flush(self) -> None:
        """Make what was written before durable."""
        await self._disk.call(api.Flush())

    async def discard(self, sector: int, count: int) -> None:
        """A hint, whose failure is nobody's business."""
        try:
            await self._disk.call(api.Discard(sector, count))
        except PosixError:
            return


async def open_disk(disk: Port) -> DiskPort:
    """The disk at the other end of a port."""
    return DiskPort(disk, await disk.call(api.Describe()))
