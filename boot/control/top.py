"""`hardtack top`: processes, the busiest system calls and the heap, live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from boot.control.client import Client

PERIOD_S = 1.0
MOST_CALLS, MOST_PROCESSES = 8, 25
Sample = tuple[str, tuple[tuple[str, str], ...]]


class _Look:
    """What was seen at one moment."""

    def __init__(self, client: Client) -> None:
        info: Any = client.ask("info")
        processes: Any = client.ask("ps")
        found: Any = client.ask("metrics")
        self.at_s = time.monotonic()
        self.info: Mapping[str, Any] = info
        self.processes: list[dict[str, Any]] = processes
        self.samples: dict[Sample, float] = {
            (name, tuple(labels.items())): value for name, labels, value in found
        }

    def one(self, name: str) -> float:
        """A sample without labels; 0 where it is not there."""
        return self.samples.get((name, ()), 0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """A labelled sample's values."""
        return {
            dict(labels)[label]: value
            for (sample, labels), value in self.samples.items()
            if sample == name
        }


def _used_s(process: Mapping[str, Any]) -> float:
    return float(process["user_ns"] + process["system_ns"]) / 1e9


def _head(now: _Look, calls_s: float) -> str:
    answers_s = now.info["answers_s"]
    loop = (
        "[red]loop does not answer[/]"
        if answers_s is None
        else f"loop answers in {answers_s * 1e3:.1f} ms"
    )
    limit = now.one("hardtack_heap_limit_bytes")
    live = sum(now.by("hardtack_heap_live_bytes", "term").values())
    frames = now.by("hardtack_frames", "state")
    program = " ".join(now.info["program"])[:60]
    return (
        f"[bold]hardtack[/] pid {now.info['pid']}  {program}  up {now.info['up_s']:.0f} s  {loop}\n"
        f"{len(now.processes)} processes  {calls_s:,.0f} calls/s"
        f"  heap {live / 2**20:.1f} of {limit / 2**20:.0f} MiB"
        f"  memory {frames.get('used', 0) * 4096 / 2**20:.0f} MiB used"
    )


def _render(before: _Look | None, now: _Look) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    elapsed_s = now.at_s - before.at_s if before else 0.0
    calls = now.by("hardtack_syscalls_total", "name")
    earlier = before.by("hardtack_syscalls_total", "name") if before else {}
    rates = {
        name: (count - earlier.get(name, 0.0)) / elapsed_s if elapsed_s else count
        for name, count in calls.items()
    }
    busiest = sorted(rates.items(), key=lambda item: -item[1])[:MOST_CALLS]
    used = {p["pid"]: _used_s(p) for p in before.processes} if before else {}
    processes = Table(box=None, header_style="reverse", expand=True)
    for name in ("PID", "UID", "S", "THR", "FDS", "%CPU", "TIME", "CALL", "NAME"):
        processes.add_column(name, justify="left" if name in ("S", "CALL", "NAME") else "right")
    rows = []
    for one in now.processes:
        spent_s = _used_s(one)
        share = (spent_s - used.get(one["pid"], spent_s)) / elapsed_s * 100 if elapsed_s else 0.0
        rows.append((share, spent_s, one))
    rows.sort(key=lambda row: (-row[0], -row[1], row[2]["pid"]))
    for share, spent_s, one in rows[:MOST_PROCESSES]:
        columns = (one["pid"], one["uid"], one["state"], one["threads"], one["descriptors"])
        processes.add_row(
            *map(str, columns), f"{share:.0f}", f"{spent_s:.2f}", one["call"] or "-", one["name"]
        )
    unit = "/s" if elapsed_s else ""
    shown = "  ".join(f"{name} {rate:,.0f}{unit}" for name, rate in busiest if rate)
    return Group(_head(now, sum(rates.values()) if elapsed_s else 0.0), processes, shown)


def top(client: Client, once: bool) -> int:
    """Show it every second until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    now = _Look(client)
    if once:
        Console().print(_render(None, now))
        return 0
    with Live(_render(None, now), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(PERIOD_S)
            before, now = now, _Look(client)
            live.update(_render(before, now), refresh=True)
