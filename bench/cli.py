"""`hardtack bench`: one subcommand for each set of measurements."""

from __future__ import annotations

import datetime
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer
from rich.console import Console

from bench import micro as micro_benchmarks
from bench import report
from bench.platforms import NAMES, REPOSITORY, GuestProgramsMissing

RESULTS = REPOSITORY / "bench" / "results"

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Measure, side by side with peers."
)


@app.callback()
def _group() -> None:
    """Keep `micro` a subcommand while it is the only one."""


def _comma_separated(text: str, legal: tuple[str, ...], what: str) -> tuple[str, ...]:
    words = tuple(word for word in text.split(",") if word)
    for word in words:
        if word not in legal:
            raise typer.BadParameter(f"no {what} {word!r}; there are {', '.join(legal)}")
    return words


def _default_output() -> Path:
    now = datetime.datetime.now(datetime.UTC)
    return RESULTS / f"micro-{now:%Y%m%dT%H%M%SZ}.json"


@app.command()
def micro(
    only: Annotated[str, typer.Option(help="names of benchmarks, comma-separated")] = "",
    platforms: Annotated[str, typer.Option(help="where to run them")] = ",".join(NAMES),
    repeats: Annotated[int, typer.Option(min=1, help="runs of each")] = (
        micro_benchmarks.DEFAULT_REPEATS
    ),
    target: Annotated[float, typer.Option(min=0.01, help="seconds that a run should take")] = (
        micro_benchmarks.DEFAULT_TARGET_S
    ),
    output: Annotated[Path | None, typer.Option(help="JSON file of all samples")] = None,
) -> int:
    """System calls, switches, forks, pages: natively, on Hardtack, on gVisor."""
    console = Console()
    legal = tuple(benchmark.program for benchmark in micro_benchmarks.BENCHMARKS)
    names = _comma_separated(only, legal, "benchmark")
    where = _comma_separated(platforms, NAMES, "platform")
    try:
        with console.status("building") as status:
            rows, found = micro_benchmarks.run_micro(
                names, where, repeats=repeats, target_s=target, progress=status.update
            )
    except GuestProgramsMissing as error:
        console.print(f"hardtack bench: error: {error}", markup=False, soft_wrap=True)
        return 1
    console.print(report.table(rows, found))
    failed = report.failures(rows)
    for line in failed:
        console.print(line, markup=False, soft_wrap=True)
    path = output or _default_output()
    path.parent.mkdir(parents=True, exist_ok=True)
    settings: dict[str, object] = {"repeats": repeats, "target_s": target}
    path.write_text(report.as_json(rows, found, settings))
    console.print(f"all samples: {path}", markup=False, soft_wrap=True)
    return 1 if failed else 0
