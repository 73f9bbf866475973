"""`hardtack graph`: the services of a topology and who calls whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boot.topology import Topology


def as_dot(topology: Topology) -> str:
    """The graph in Graphviz' language, one rank to a row, callers above callees."""
    lines = ["digraph hardtack {", "  rankdir=TB;", '  node [shape=box, fontname="monospace"];']
    by_rank: dict[int, list[str]] = {}
    for spec in topology.starting_order():
        by_rank.setdefault(spec.rank, []).append(spec.name)
    for rank in sorted(by_rank, reverse=True):
        names = " ".join(f"{name};" for name in by_rank[rank])
        lines.append(f"  {{ rank=same; {names} }}  // rank {rank}")
    lines += [
        f"  {spec.name} -> {peer};"
        for spec in reversed(topology.starting_order())
        for peer in sorted(spec.peers)
    ]
    lines.append("}")
    return "\n".join(lines)


def as_text(topology: Topology) -> str:
    """A table: rank, service, whom it calls, who calls it, what it owns."""
    from io import StringIO

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD, title=f"hardtack: calls go down in rank ({topology.strategy.value})"
    )
    for heading in ("rank", "service", "calls", "is called by", "owns", "restart"):
        table.add_column(heading, no_wrap=heading != "owns")
    for spec in reversed(topology.starting_order()):
        callers = [other.name for other in topology.services if spec.name in other.peers]
        restart = spec.restart
        table.add_row(
            str(spec.rank),
            spec.name,
            " ".join(sorted(spec.peers)) or "-",
            " ".join(sorted(callers)) or "-",
            spec.owns,
            f"{restart.lifetime.value} {restart.intensity}/{restart.period_s:g}s",
        )
    out = StringIO()
    Console(file=out, width=132).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
