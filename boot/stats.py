"""The summary of `--stats`: what the run cost, on standard error when it is over."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from boot.measures import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from boot.assembly import Machine
    from bus.pauses import PauseWatch

MOST = 12
"""Rows of a table; the rest is added up in one more."""


def _top(title: str, counts: Mapping[str, int]) -> Iterable[str]:
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    if not ranked:
        return
    rest = ranked[MOST:]
    rows = ranked[:MOST] + (
        [(f"({len(rest)} others)", sum(count for _, count in rest))] if rest else []
    )
    yield f"  {'count':>10}  {title}"
    for name, count in rows:
        yield f"  {count:>10,}  {name}"


def _pause_line(pauses: PauseWatch) -> str:
    count = sum(map(sum, pauses.counts))
    total_ms, longest_ms = sum(pauses.total_s) * 1e3, pauses.longest_s * 1e3
    return (
        f"  collector: {count:,} pauses, {total_ms:.1f} ms in all, {longest_ms:.2f} ms the longest"
    )


def _heap_lines(machine: Machine, final: bool) -> Iterable[str]:
    for reason, (count, total_s, longest_s) in sorted(machine.pauses.reasons.items()):
        yield (
            f"    {reason}: {int(count):,}, {total_s * 1e3:.1f} ms in all,"
            f" {longest_s * 1e3:.3f} ms the longest"
        )
    ledger = machine.admission
    if final:
        ledger.take_stock()
    when = "at the end" if final else "now"
    yield (
        f"  heap: {ledger.live:,} of {ledger.limit_bytes:,} bytes live {when},"
        f" {ledger.peak:,} at most, {ledger.waits:,} calls waited"
    )
    faults = getattr(ledger.fails, "injected", None)
    if faults is not None:
        yield f"  {faults:,} reservations made to fail, {ledger.deep_failures:,} calls run again"
    kinds = list(ledger.heap.by_bytes())
    for kind in kinds[:5]:
        yield f"  {kind.live:>12,}  {kind.count:>8,}  {kind.service} {kind.name}"


def summary(machine: Machine, elapsed_s: float, *, final: bool = True) -> str:
    """The whole table, one string; made before the services stop, or meanwhile."""
    kernel = getattr(machine.services.get("proc"), "kernel", None)
    memory = getattr(machine.services.get("vm"), "core", None)
    calls = syscalls(kernel) if kernel is not None else {}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    lines = [
        f"hardtack: {sum(calls.values()):,} system calls in {elapsed_s:.2f} s"
        f" ({usage.ru_utime + usage.ru_stime:.2f} s of processor,"
        f" {usage.ru_maxrss / 1024:.0f} MiB resident at most)"
    ]
    lines += _top("system call", calls)
    edges: dict[str, int] = {}
    for port in machine.bus.ports:
        for kind, count in port.counts.items():
            name = f"{port.caller}→{port.target} {kind.__name__}"
            edges[name] = edges.get(name, 0) + count
    lines += _top("message", edges)
    if kernel is not None:
        lines.append(f"  {kernel.fork_count:,} forks, {kernel.fault_count:,} page-fault traps")
    if memory is not None:
        counts = memory.counts()
        lines.append(
            f"  frames: {counts.total - counts.free:,} of {counts.total:,} in use"
            f" {'at the end' if final else 'now'}"
        )
    lines.append(_pause_line(machine.pauses))
    lines += _heap_lines(machine, final)
    return "\n".join(lines)
