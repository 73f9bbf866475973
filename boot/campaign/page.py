"""The report as a page (Markdown), for docs/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boot.campaign.report import HEAD, cells
from boot.campaign.strike import KINDS, SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from boot.campaign.report import Row

PAGE = """\
# A fault campaign

    hardtack campaign -n {times} --seed {seed}{options}

A kernel ran NGINX, Redis (append-only, fsync always), a shell script, SQLite and a Lua script,
on an ext4 image; two clients outside kept their connections, and made new ones. In {minutes:.0f}
minutes **{injected:,} faults were injected, {survived:,} survived; {kernel_deaths} kernel
deaths, {failed_calls} failed calls, {broken_connections} broken connections, {lost_bytes} lost
bytes, {calls_without_service} calls that found no service.** The load finished these rounds:
{rounds}. {found:,} acknowledged values were found again after a fresh boot on the same image.

{table}

![Distributions of the times to recover](campaign.png)

The drivers, one by one:

{drivers}

- *Survived*: the kernel lives, the service is there again, and each of the five programs has
  finished a round since.
- *Failed calls*: what a program or client was answered wrongly or not at all; a connection that
  ends is one.
- *Lost bytes*: written and acknowledged, and not there, or different: pages, keys, counters,
  rows, lines, and the order of lines on the console; at the end, values and rows once more after
  a fresh boot.
- *Recovery*: from the failure (of a hang: from its beginning) until the service was served
  again. A hang is seen when a call, or the supervisor's ping, has taken a second. A delay needs
  no recovery.
- *Slowest request*: the longest that a client outside waited for an answer while a fault was
  under way. That includes what it waits for the other programs, which share one emulated
  processor with it.

## What this does not show

- Faults strike at the door of a service: the call has not begun, or (half of the crashes) has
  just ended. A bug in the middle of a handler is answered with EIO, and is not in these figures.
- In embedded placement a loop that never awaits hangs the whole kernel; no other service can see
  it.
- The killer and `entropy` have little to do under this load: the supervisor's pings are what is
  struck.
- Nothing here cuts the power: `tests/crash` does.

[campaign.json](campaign.json) has every time to recover{deaths}.
"""
SUMS = (
    *("injected", "survived", "kernel_deaths", "failed_calls", "broken_connections"),
    *("lost_bytes", "calls_without_service"),
)


def _table(rows: Sequence[Row]) -> str:
    lines = [HEAD, ("---", "---", *("---:" for _ in HEAD[2:])), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _said(facts: Mapping[str, object]) -> str:
    """What the command line said besides."""
    words: list[str] = []
    for name, all_of_them in (("services", SERVICES), ("faults", KINDS)):
        chosen: Sequence[str] = facts[name]  # type: ignore[assignment]
        words += [] if tuple(chosen) == all_of_them else [f"--{name}", ",".join(chosen)]
    options: Sequence[str] = facts["options"]  # type: ignore[assignment]
    words += ["--", *options] if options else []
    return "".join(f" {word}" for word in words)


def write(
    path: Path, rows: Sequence[Row], drivers: Sequence[Row], facts: Mapping[str, object]
) -> None:
    """Write it; `facts` as in the JSON file."""
    sums = {name: sum(getattr(row, name) for row in rows) for name in SUMS}
    rounds: Mapping[str, int] = facts["rounds"]  # type: ignore[assignment]
    seconds = float(str(facts["seconds"]))
    text = PAGE.format(
        **sums,
        times=facts["times"],
        seed=facts["seed"],
        options=_said(facts),
        minutes=seconds / 60,
        rounds=", ".join(f"{name} {count:,}" for name, count in rounds.items()),
        found=facts["values_found_after_a_boot"],
        table=_table(rows),
        drivers=_table(drivers),
        deaths=", and what the kernels that died said" if sums["kernel_deaths"] else "",
    )
    path.write_text(text)
