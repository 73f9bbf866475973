"""What the live summary shows, read from the kernel's metrics page and the servers' own counts."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

import attrs

from boot.serve.clients import Redis, get
from boot.serve.sites import LOOPBACK, NGINX, REDIS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boot.serve.sites import Site

MIB = 1 << 20
FRAME_BYTES = 4096

METRICS = {
    "syscalls": "hardtack_syscalls_total",
    "faults": "hardtack_page_faults_total",
    "processes": "hardtack_processes",
    "pauses": "hardtack_gc_pause_seconds_count",
    "paused_s": "hardtack_gc_pause_seconds_sum",
    "host_bytes": "process_resident_memory_bytes",
    "processor_s": "process_cpu_seconds_total",
}
"""Our names for metrics; the values of all labels are added up."""

SHOWN = {
    "http_requests": "HTTP requests",
    "http_accepted": "HTTP connections",
    "http_active": "… open now",
    "redis_commands": "Redis commands",
    "redis_accepted": "Redis connections",
    "redis_clients": "… open now",
    "syscalls": "system calls",
    "faults": "page faults",
    "pauses": "collector pauses",
    "paused_s": "… seconds in all",
    "processes": "processes",
    "frames_mib": "memory of programs, MiB",
    "host_mib": "memory of the kernel's host process, MiB",
    "processor_s": "processor, seconds",
}
RATED = frozenset(
    {"http_requests", "http_accepted", "redis_commands", "redis_accepted", "syscalls", "faults"}
    | {"pauses", "paused_s", "processor_s"}
)
"""Those that only grow: their growth in a second is shown, too."""


@attrs.frozen
class Figures:
    """What is known at one moment (time.monotonic); what could not be asked is left out."""

    at_s: float
    values: Mapping[str, float]


_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.M)


def of_metrics(text: str) -> dict[str, float]:
    """From the metrics page (Prometheus' text format)."""
    sums: dict[str, float] = {}
    frames = 0.0
    for name, labels, value in _SAMPLE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
        if name == "hardtack_frames" and 'state="used"' in labels:
            frames = float(value)
    values = {ours: sums[theirs] for ours, theirs in METRICS.items() if theirs in sums}
    values["frames_mib"] = frames * FRAME_BYTES / MIB
    if "host_bytes" in values:
        values["host_mib"] = values.pop("host_bytes") / MIB
    return values


def of_nginx(text: str) -> dict[str, float]:
    """From the page of its stub_status module."""
    active = re.search(r"Active connections: (\d+)", text)
    counts = re.search(r"^ (\d+) (\d+) (\d+)", text, re.M)
    if active is None or counts is None:
        return {}
    return {
        "http_requests": float(counts[3]),
        "http_accepted": float(counts[1]),
        "http_active": float(active[1]),
    }


def _of_site(site: Site, port: int) -> dict[str, float]:
    if site is NGINX:
        return of_nginx(get(f"http://{LOOPBACK}:{port}/status")[1])
    if site is REDIS:
        with Redis(LOOPBACK, port) as redis:
            info = redis.info()
        names = {
            "redis_commands": "total_commands_processed",
            "redis_accepted": "total_connections_received",
            "redis_clients": "connected_clients",
        }
        return {ours: float(info[theirs]) for ours, theirs in names.items() if theirs in info}
    return {}


def read(metrics_port: int, ports: Mapping[Site, int]) -> Figures:
    """All that answers now; what does not is left out."""
    values: dict[str, float] = {}
    at_s = time.monotonic()
    with contextlib.suppress(OSError):
        values |= of_metrics(get(f"http://{LOOPBACK}:{metrics_port}/metrics")[1])
    for site, port in ports.items():
        try:
            values |= _of_site(site, port)
        except (OSError, ValueError):
            continue
    return Figures(at_s, values)


def rows(before: Figures, now: Figures) -> list[tuple[str, str, str]]:
    """(what, how much, how much of it per second) in the order of `SHOWN`."""
    passed_s = now.at_s - before.at_s
    found = []
    for name, title in SHOWN.items():
        if name not in now.values:
            continue
        value, rate = now.values[name], ""
        if name in RATED and name in before.values and passed_s > 0:
            growth = (value - before.values[name]) / passed_s
            rate = f"{growth:,.3f}" if name.endswith("_s") else f"{growth:,.0f}"
        amount = f"{value:,.2f}" if name.endswith("_s") else f"{value:,.0f}"
        found.append((title, amount, rate))
    return found
