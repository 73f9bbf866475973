"""`hardtack bench`: one subcommand for each set of measurements."""

from __future__ import annotations

import datetime
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import attrs
import typer
from rich.console import Console

from bench import cost as accounting
from bench import dcache as names_cache
from bench import fs as files
from bench import report
from bench.micro import MICRO
from bench.net import NET
from bench.platforms import NAMES, REPOSITORY, GuestProgramsMissing
from bench.suite import Suite, run_suite

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from bench.measure import Benchmark, Progress, Row
    from bench.platforms import Platform

    Measured = tuple[list[Row], list[Platform]]

RESULTS = REPOSITORY / "bench" / "results"

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Measure, side by side with peers."
)

Only = Annotated[str, typer.Option(help="names of benchmarks, comma-separated")]
Platforms = Annotated[str, typer.Option(help="where to run them")]
Repeats = Annotated[int, typer.Option(min=1, help="runs of each")]
Target = Annotated[float, typer.Option(min=0.01, help="seconds that a run should take")]
Output = Annotated[Path | None, typer.Option(help="JSON file of all samples")]
PAGE_COLUMNS = 110
EVERYWHERE = ",".join(NAMES)


@app.command()
def micro(
    only: Only = "",
    platforms: Platforms = EVERYWHERE,
    repeats: Repeats = MICRO.repeats,
    target: Target = MICRO.target_s,
    output: Output = None,
) -> int:
    """System calls, switches, forks, pages: natively, on Hardtack, on gVisor."""
    return _run(MICRO, only, platforms, repeats, target, output)


@app.command()
def net(
    only: Only = "",
    platforms: Platforms = EVERYWHERE,
    repeats: Repeats = NET.repeats,
    target: Target = NET.target_s,
    output: Output = None,
) -> int:
    """Redis, NGINX, memcached, client and server inside: natively, on Hardtack, on gVisor."""
    return _run(NET, only, platforms, repeats, target, output)


@app.command()
def fs(
    only: Only = "",
    platforms: Annotated[str, typer.Option(help="where to run them")] = ",".join(files.PLACES),
    repeats: Repeats = 3,
    target: Target = 1.0,
    output: Output = None,
) -> int:
    """Mail, small files, a large one, names, fsync: tmpfs and ext4, Hardtack, gVisor."""
    by_name = {benchmark.program: benchmark for benchmark in files.BENCHMARKS}
    names = _comma_separated(only, tuple(by_name), "benchmark")
    where = _comma_separated(platforms, files.PLACES, "platform")
    chosen = [by_name[name] for name in names or by_name]
    settings: dict[str, object] = {"repeats": repeats, "target_s": target}
    return _show(
        "fs",
        (report.RATES, report.PROCESSOR),
        lambda progress: files.run(chosen, where, repeats, target, progress),
        [],
        settings,
        output,
    )


@app.command()
def dcache(
    only: Only = "", repeats: Repeats = 5, target: Target = 1.0, output: Output = None
) -> int:
    """A directory cache whose look-ups take no lock, and one with read locks (section 7.2.8)."""
    by_name = {benchmark.program: benchmark for benchmark in names_cache.BENCHMARKS}
    chosen = [by_name[name] for name in _comma_separated(only, tuple(by_name), "benchmark")]
    settings: dict[str, object] = {"repeats": repeats, "target_s": target}
    return _show(
        "dcache",
        (report.RATES,),
        lambda progress: names_cache.run(
            chosen or names_cache.BENCHMARKS, repeats, target, progress
        ),
        [],
        settings,
        output,
    )


@app.command()
def cost(only: Only = "", repeats: Repeats = 5, target: Target = 1.0, output: Output = None) -> int:
    """What admission and accounting cost: with them, and without."""
    by_name = {benchmark.program: benchmark for benchmark in accounting.BENCHMARKS}
    chosen = [by_name[name] for name in _comma_separated(only, tuple(by_name), "benchmark")]
    shares: list[str] = []

    def measured(progress: Progress) -> Measured:
        rows, found = accounting.run(chosen or accounting.BENCHMARKS, repeats, target, progress)
        for row in rows:
            taken = [accounting.share(row, scale) for scale in (report.TIMES, report.PROCESSOR)]
            said = ", ".join(
                f"{share:.1%} of {what}"
                for share, what in zip(taken, ("the time", "the processor"), strict=True)
                if share is not None
            )
            if said:
                shares.append(f"{row.benchmark.title}: {said} is admission and accounting")
        return rows, found

    settings: dict[str, object] = {"repeats": repeats, "target_s": target}
    status = _show("cost", (report.TIMES, report.PROCESSOR), measured, [], settings, output)
    print("\n".join(shares))
    return status


@app.command()
def pauses(
    only: Only = "redis-get,redis-set,nginx-close,nginx-keep",
    seconds: Annotated[int, typer.Option(min=1, help="of each load, roughly")] = 10,
) -> int:
    """How long the collector stops Hardtack while it serves (section 7.2.3)."""
    from bench import pauses as collector

    by_name = {benchmark.program: benchmark for benchmark in NET.benchmarks}
    names = _comma_separated(only, tuple(by_name), "load") or tuple(by_name)
    console, found = _console(), []
    with console.status("serving") as status:
        for name in names:
            benchmark = by_name[name]
            status.update(f"serving: {benchmark.title}")
            count = seconds if benchmark.timed else seconds * collector.REQUESTS_A_SECOND
            found.append(collector.run(benchmark, count))
    console.print("\n".join(collector.table(found)), markup=False, soft_wrap=True)
    return 0


@app.command()
def heap(
    only: Only = "",
    heap_mib: Annotated[int, typer.Option(min=4, help="the kernel's heap, MiB")] = 16,
    seconds: Annotated[float, typer.Option(min=1, help="of each kind; 1500 in full")] = 10,
    output: Output = None,
) -> int:
    """A bad citizen fills the kernel's heap while a good one works (section 7.2.7)."""
    from bench import heap as experiment
    from bench import heap_plot

    kinds = _comma_separated(only, experiment.KINDS, "kind of abuse") or experiment.KINDS
    console = Console()
    outcomes = experiment.run_all(
        kinds, heap_mib << 20, seconds, lambda line: console.print(line, markup=False)
    )
    path = _keep("heap", [attrs.asdict(outcome) for outcome in outcomes], output)
    if heap_plot.available():
        heap_plot.draw(outcomes, picture := path.with_suffix(".png"))
        console.print(f"figure 7-6: {picture}", markup=False, soft_wrap=True)
    else:
        console.print("no plot: matplotlib is not installed (pip install 'hardtack[plots]')")
    return int(any(outcome.delivered is None for outcome in outcomes))


@app.command()
def headroom(
    only: Annotated[str, typer.Option(help="collectors, with commas between")] = "",
    files: Annotated[int, typer.Option(min=100, help="in the directory cache")] = 200_000,
    messages: Annotated[int, typer.Option(min=10, help="delivered in each run")] = 1000,
    output: Output = None,
) -> int:
    """Mail on a kernel whose heap is full of live data (figure 7-4), under three collectors."""
    from bench import headroom as figure

    collectors = _comma_separated(only, figure.COLLECTORS, "collector") or figure.COLLECTORS
    found = figure.run_all(files, messages, collectors, lambda text: print(text, flush=True))
    _keep("headroom", [attrs.asdict(one) for one in found], output)
    return 0


@app.command()
def script(
    sizes: Annotated[str, typer.Option(help="of values, bytes, with commas between")] = "",
    requests: Annotated[int, typer.Option(min=100, help="in each run")] = 20_000,
    repeats: Repeats = 3,
    rounds: Annotated[int, typer.Option(min=0, help="of each pattern; 0: none")] = 300,
    output: Output = None,
) -> int:
    """System call scripting: memcached over UDP, and patterns of calls (figures 3 and 4)."""
    from bench import heap_plot
    from bench import script as scripting

    legal = tuple(str(size) for size in scripting.SIZES)
    chosen = [int(size) for size in _comma_separated(sizes, legal, "size")] or scripting.SIZES
    console = _console()
    runs: list[scripting.Run] = []
    patterns: list[scripting.Pattern] = []
    if lacking := scripting.missing():
        words = ", ".join(f"{name} (Debian: {package})" for name, package in lacking.items())
        print(f"memcached is left out: missing {words}")
    with console.status("building") as status:
        if not lacking:
            runs = scripting.run_all(chosen, requests, repeats, status.update)
        if rounds:
            status.update("patterns")
            patterns = scripting.run_patterns(rounds)
    print("\n".join(scripting.table(runs) if runs else []))
    print("\n".join(scripting.pattern_table(patterns) if patterns else []))
    samples = {"runs": list(map(attrs.asdict, runs)), "patterns": list(map(attrs.asdict, patterns))}
    path = _keep("script", samples, output)
    if runs and heap_plot.available():
        scripting.draw(runs, picture := path.with_suffix(".png"))
        print(f"figures 3 and 4: {picture}")
    return int(bool(lacking))


def _keep(name: str, samples: object, output: Path | None) -> Path:
    """Write samples where they are looked for; where that is."""
    now = datetime.datetime.now(datetime.UTC)
    path = output or RESULTS / f"{name}-{now:%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(samples, indent=1))
    print(f"all samples: {path}")
    return path


def _comma_separated(text: str, legal: tuple[str, ...], what: str) -> tuple[str, ...]:
    words = tuple(word for word in text.split(",") if word)
    for word in words:
        if word not in legal:
            raise typer.BadParameter(f"no {what} {word!r}; there are {', '.join(legal)}")
    return words


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    print(f"hardtack bench: ended by {signal.Signals(number).name}", file=sys.stderr)
    raise SystemExit(128 + number)


def _console() -> Console:
    """The terminal, or a page that is wide enough for the table."""
    console = Console()
    return console if console.is_terminal else Console(width=PAGE_COLUMNS)


def _possible(suite: Suite, benchmarks: list[Benchmark]) -> tuple[list[Benchmark], list[str]]:
    """Those whose programs are here, and a line about each of the others."""
    possible, lines = [], []
    for benchmark in benchmarks:
        if lacking := suite.lacking(benchmark):
            programs, packages = ", ".join(lacking), " ".join(dict.fromkeys(lacking.values()))
            lines.append(
                f"{benchmark.program}: left out, needs {programs} (apt-get install {packages})"
            )
        else:
            possible.append(benchmark)
    return possible, lines


def _run(
    suite: Suite, only: str, platforms: str, repeats: int, target_s: float, output: Path | None
) -> int:
    """Measure, print the table, write the file; 1 where something could not be measured."""
    names = _comma_separated(only, suite.names, "benchmark")
    where = _comma_separated(platforms, NAMES, "platform")
    benchmarks, complaints = _possible(suite, suite.chosen(names))

    def measured(progress: Progress) -> Measured:
        return run_suite(
            suite, benchmarks, where, repeats=repeats, target_s=target_s, progress=progress
        )

    settings: dict[str, object] = {"repeats": repeats, "target_s": target_s}
    return _show(
        suite.name, (suite.scale, report.PROCESSOR), measured, complaints, settings, output
    )


def _show(
    name: str,
    scales: tuple[report.Scale, ...],
    measured: Callable[[Progress], Measured],
    complaints: list[str],
    settings: dict[str, object],
    output: Path | None,
) -> int:
    """Measure, print the tables, write the file; 1 where something could not be measured."""
    console = _console()
    signal.signal(signal.SIGTERM, _leave)  # as Ctrl-C does: what runs is ended first
    try:
        with console.status("building") as status:
            rows, found = measured(status.update)
    except GuestProgramsMissing as error:
        console.print(f"hardtack bench: error: {error}", markup=False, soft_wrap=True)
        return 1
    if rows:
        for shown in scales:
            console.print(report.table(rows, found, shown))
    complaints += report.failures(rows)
    for line in complaints:
        console.print(line, markup=False, soft_wrap=True)
    path = output or RESULTS / f"{name}-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.as_json(rows, found, settings))
    console.print(f"all samples: {path}", markup=False, soft_wrap=True)
    return 1 if complaints else 0
