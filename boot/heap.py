"""`hardtack heap`: the kernel heap of a running kernel, from its metrics page, as it changes.

The page is asked like any scraper would, so a kernel in trouble is not disturbed by more than that.
"""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from boot.config import ConfigError, parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping

Sample = tuple[str, tuple[tuple[str, str], ...]]
PERIOD_S, PATIENCE_S = 1.0, 5.0
MOST = 12
_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse(page: str) -> dict[Sample, float]:
    """The samples of a page in Prometheus' text format, by name and labels."""
    found: dict[Sample, float] = {}
    for line in page.splitlines():
        match = _LINE.match(line)
        if match is not None:
            labels = tuple(_LABEL.findall(match[2] or ""))
            found[match[1], labels] = float(match[3])
    return found


def _labelled(
    samples: Mapping[Sample, float], name: str, *wanted: str
) -> dict[tuple[str, ...], float]:
    """The samples of a name by the values of the labels that are wanted, in that order."""
    return {
        tuple(dict(labels)[label] for label in wanted): number
        for (sample, labels), number in samples.items()
        if sample == name
    }


def show(samples: Mapping[Sample, float]) -> list[str]:
    """The view, line by line."""

    def of(name: str) -> int:
        return int(samples.get((f"hardtack_heap_{name}", ()), 0))

    terms = _labelled(samples, "hardtack_heap_live_bytes", "term")
    lastgc, used = (int(terms.get((term,), 0)) for term in ("lastgc", "used"))
    limit, current = of("limit_bytes"), of("reserved_bytes")
    share = 100 * (lastgc + used + current) / limit if limit else 0.0
    lines = [
        f"heap   M {limit:,}   lastgc {lastgc:,}   used {used:+,}   current {current:,}"
        f"   {share:.1f} %",
        f"       waiting {of('waiting')}   waits {of('waits_total')}   peak {of('peak_bytes'):,}"
        f"   kills {of('kills_total')}",
    ]
    objects = _labelled(samples, "hardtack_heap_kind_objects", "service", "kind")
    kinds = _labelled(samples, "hardtack_heap_kind_bytes", "service", "kind")
    services: dict[str, int] = {}
    for (service, _), held in kinds.items():
        services[service] = services.get(service, 0) + int(held)
    lines.append("       " + "   ".join(f"{s} {b:,}" for s, b in sorted(services.items())))
    lines.append(f"{'bytes':>14}{'objects':>10}  kind")
    for key, held in sorted(kinds.items(), key=lambda item: -item[1])[:MOST]:
        lines.append(f"{int(held):>14,}{int(objects.get(key, 0)):>10,}  {' '.join(key)}")
    lines.append(f"{'holdings':>14}{'pid':>10}  process")
    held_by = _labelled(samples, "hardtack_process_holdings", "pid", "name")
    for (pid, name), held in sorted(held_by.items(), key=lambda item: -item[1])[:MOST]:
        lines.append(f"{int(held):>14,}{pid:>10}  {name}")
    return lines


def watch(address: str, once: bool) -> int:
    """Show it every second until Ctrl-C; ConfigError where there is no such page."""
    where = parse_address(address)
    host = where.host or "127.0.0.1"
    url = f"http://{f'[{host}]' if ':' in host else host}:{where.port}/metrics"
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                lines = show(parse(answer.read().decode()))
        except (urllib.error.URLError, OSError) as error:
            raise ConfigError(
                f"no metrics page at {url}: {error}", "boot with hardtack run --metrics PORT"
            ) from error
        if once:
            print("\n".join(lines))
            return 0
        print("\033[H\033[2J" + "\n".join(lines), flush=True)
        time.sleep(PERIOD_S)
