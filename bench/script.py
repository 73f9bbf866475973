"""System call scripting: memcached over UDP with and without it, and what patterns of calls gain.

Figures 3 and 4 of Koomsin and Shinjo (PLoS 2015): an unmodified memcached with one worker, nine
GETs over UDP to one SET, 128 requests under way, values of 32 to 1024 bytes; plain, with scripts
interpreted, and with scripts compiled. Their memcached was changed for it, ours is not: a library
(`user/script/batch.c`) stands between it and the C library.
"""

from __future__ import annotations

import json
import shlex
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from bench import loads
from bench.measure import RunFailed
from bench.net import free_port
from bench.platforms import GUEST_PROGRAMS, build_guest_programs, hardtack
from bench.run import run_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.measure import Sample

SIZES = (32, 64, 128, 256, 512, 1024)
PLAIN, INTERPRETED, COMPILED = VARIANTS = ("plain", "interpreter", "JIT")
IN_FLIGHT = 128
WARM_UP = 1500
LIBRARY = GUEST_PROGRAMS / "libbatch.so"
PAPER = "paper, at small values: 44 % more throughput, 33 % less response time, compiled"
SERVER = loads.Server(
    "{preload} memcached -u root -U {port} -l 127.0.0.1 -p {port} -t 1 -P server.pid",
    {"memcached": "memcached"},
)


@attrs.frozen
class Run:
    """One run: requests a second, and the GETs' mean response time in microseconds."""

    variant: str
    value_bytes: int
    per_second: float
    response_us: float
    deviation_us: float
    lost: int


@attrs.frozen
class Pattern:
    """The same work by plain calls and by a script; microseconds of one round."""

    title: str
    jit: bool
    plain_calls: int
    script_calls: int
    inner_calls: int
    plain_us: float
    script_us: float


def missing() -> Mapping[str, str]:
    """What this machine lacks, and the package that has it."""
    return loads.missing(loads.Load(SERVER, "", {}, 0, _no_sample))


def _no_sample(text: str, wall_s: float, count: int) -> Sample:
    raise NotImplementedError


def _kernel(jit: bool, *words: str) -> tuple[str, ...]:
    prefix = hardtack().prefix
    return (*prefix[:-1], "--script-jit", "on" if jit else "off", prefix[-1], *words)


def _printed(words: Sequence[str]) -> list[Any]:
    """Run it; the lines of JSON that it prints."""
    from bench.measure import Sample

    printed: list[Any] = []

    def read(text: str, wall_s: float) -> Sample:
        try:
            printed.extend(json.loads(line) for line in text.splitlines())
        except ValueError as error:
            raise RunFailed(f"printed {text.strip()[-200:]!r}") from error
        return Sample(1, wall_s / 2, "run", wall_s)

    run_words(words, read)
    return printed


def run(variant: str, value_bytes: int, requests: int) -> Run:
    """memcached and its client in a kernel of their own; RunFailed says what went wrong."""
    client = f"{shlex.quote(str(GUEST_PROGRAMS / 'udpload'))} {{count}} {IN_FLIGHT} {value_bytes}"
    preload = "" if variant == PLAIN else f"env LD_PRELOAD={shlex.quote(str(LIBRARY))}"
    server = attrs.evolve(SERVER, command=SERVER.command.replace("{preload}", preload))
    load = loads.Load(server, client + " {port}", {}, WARM_UP, _no_sample)
    with tempfile.TemporaryDirectory(prefix="hardtack-bench-") as folder:
        scratch, port = Path(folder), free_port()
        loads.prepare(server, scratch, port)
        script = loads.script(load, scratch, port, requests)
        (told,) = _printed(_kernel(variant != INTERPRETED, "/bin/sh", "-c", script))
    return Run(
        variant,
        value_bytes,
        told["per_second"],
        told["response_us"],
        told["deviation_us"],
        told["lost"],
    )


def run_all(
    sizes: Sequence[int], requests: int, repeats: int, say: Callable[[str], object]
) -> list[Run]:
    """Every variant with every size, in turn, `repeats` times."""
    build_guest_programs()
    found = []
    for turn in range(repeats):
        for size in sizes:
            for variant in VARIANTS:
                say(f"run {turn + 1} of {repeats}: {size} bytes, {variant}")
                found.append(run(variant, size, requests))
    return found


def medians(runs: Sequence[Run], figure: str) -> dict[tuple[int, str], float]:
    """The median of one figure (`per_second`, `response_us`) by size and variant."""
    samples: dict[tuple[int, str], list[float]] = {}
    for one in runs:
        samples.setdefault((one.value_bytes, one.variant), []).append(getattr(one, figure))
    return {key: statistics.median(values) for key, values in samples.items()}


def table(runs: Sequence[Run]) -> list[str]:
    """For people: both figures, and the change against plain."""
    lines = []
    for figure, title in (("per_second", "requests a second"), ("response_us", "response, µs")):
        found = medians(runs, figure)
        lines.append(
            f"{title:20}{PLAIN:>12}{INTERPRETED:>12}{COMPILED:>12}{'interp.':>9}{'JIT':>9}"
        )
        for size in sorted({size for size, _ in found}):
            plain, interpreted, compiled = (found[size, variant] for variant in VARIANTS)
            lines.append(
                f"{size:>11} bytes   {plain:>12,.0f}{interpreted:>12,.0f}{compiled:>12,.0f}"
                f"{interpreted / plain - 1:>+9.0%}{compiled / plain - 1:>+9.0%}"
            )
    return [*lines, PAPER]


def run_patterns(rounds: int) -> list[Pattern]:
    """`user/patterns.c`, with scripts compiled and interpreted."""
    build_guest_programs()
    found = []
    for jit in (True, False):
        for told in _printed(_kernel(jit, str(GUEST_PROGRAMS / "patterns"), str(rounds))):
            told.pop("name")
            found.append(Pattern(jit=jit, **told))
    return found


def pattern_table(patterns: Sequence[Pattern]) -> list[str]:
    """For people: traps saved, and time gained."""
    lines = [
        f"{'a round of':44}{'calls':>6}{'script':>8}{'inner':>7}"
        f"{'plain':>10}{'JIT':>10}{'interp.':>10}{'saved':>7}"
    ]
    interpreted = {one.title: one.script_us for one in patterns if not one.jit}
    lines += [
        f"{one.title:44}{one.plain_calls:>6}{one.script_calls:>8}{one.inner_calls:>7}"
        f"{one.plain_us:>7,.0f} µs{one.script_us:>7,.0f} µs"
        f"{interpreted[one.title]:>7,.0f} µs{1 - one.script_us / one.plain_us:>7.0%}"
        for one in patterns
        if one.jit
    ]
    return lines


def draw(runs: Sequence[Run], path: Path) -> None:
    """Figures 3 and 4: response time and throughput by the size of values."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axes, name, title, unit in zip(
        panels,
        ("response_us", "per_second"),
        ("average response time, ms", "requests a second"),
        (1e-3, 1.0),
        strict=True,
    ):
        found = medians(runs, name)
        sizes = sorted({size for size, _ in found})
        for place, variant in enumerate(VARIANTS):
            at = [index + (place - 1) * 0.27 for index in range(len(sizes))]
            axes.bar(at, [found[size, variant] * unit for size in sizes], 0.25, label=variant)
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlabel("bytes of a value")
        axes.set_title(title)
    panels[0].legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
