"""The live summary on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table

from boot.serve import figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boot.serve.figures import Figures
    from boot.serve.kernel import ServingKernel
    from boot.serve.sites import Site

PERIOD_S = 1.0


def _uptime(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"up {hours}:{minutes:02}:{rest:02}"


def table(before: Figures, now: Figures, up_s: float) -> Table:
    """What the kernel did and does."""
    grid = Table(title=_uptime(up_s), title_justify="left")
    grid.add_column("what")
    grid.add_column("so far", justify="right", min_width=12)
    grid.add_column("a second", justify="right", min_width=10)
    for row in figures.rows(before, now):
        grid.add_row(*row)
    return grid


def show(
    kernel: ServingKernel, metrics_port: int, ports: Mapping[Site, int], began_s: float
) -> None:
    """Until KeyboardInterrupt; KernelEnded where the kernel does not last as long."""
    before = now = figures.read(metrics_port, ports)
    with Live(table(before, now, 0), console=Console(), auto_refresh=False) as live:
        while True:
            time.sleep(PERIOD_S)
            kernel.check()
            before, now = now, figures.read(metrics_port, ports)
            live.update(table(before, now, now.at_s - began_s), refresh=True)
