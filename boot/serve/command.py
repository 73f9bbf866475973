"""The command itself: choose, boot, try, show, stop."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from boot import VERSION
from boot.serve import install, sites
from boot.serve.kernel import KernelEnded, ServingKernel
from boot.serve.sites import LOOPBACK, Site

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from types import FrameType

FIRST_METRICS_PORT = 9100

MORE = """\
More to see: hardtack tour; hardtack run -- bash; hardtack --help
Ctrl-C ends it."""


def _say(line: str) -> None:
    print(line, flush=True)


def _offer(may_install: bool) -> list[Site]:
    """What is served; the missing is installed where it may be, and told where not."""
    found, lacking = sites.choose()
    if lacking and may_install and install.possible():
        packages = [site.package for site in lacking]
        _say(f"installing {' and '.join(packages)} (apt-get) …")
        complaint = install.install(packages)
        if complaint:
            _say(f"apt-get: {complaint}")
        found, lacking = sites.choose()
    if lacking:
        names = " and ".join(site.program for site in lacking)
        cure = " ".join(site.package for site in lacking)
        _say(f"not installed here: {names} (apt-get install {cure})")
    if sites.PYTHON in found:
        _say("so Python's own web server serves the page")
    return found


def _ports(found: list[Site], options: argparse.Namespace) -> dict[Site, int]:
    """A port of this machine for each."""
    chosen: dict[Site, int] = {}
    for site in found:
        wanted = options.redis if site is sites.REDIS else options.http
        port = sites.free_port(wanted, list(chosen.values()))
        if port != wanted:
            _say(f"port {wanted} is taken: {site.name} gets {port}")
        chosen[site] = port
    return chosen


def _words(ports: Mapping[Site, int], metrics_port: int) -> list[str]:
    """What `hardtack run` is told."""
    words = ["--metrics", f"{LOOPBACK}:{metrics_port}"]
    for site, port in ports.items():
        words += ["-p", f"{LOOPBACK}:{port}:{site.guest_port}"]
    return [*words, "--", "/bin/sh", "-c", sites.script(list(ports))]


def _try_all(kernel: ServingKernel, ports: Mapping[Site, int]) -> bool:
    """Use every site once; whether all did as they should."""
    good = True
    for site, port in ports.items():
        try:
            answer = kernel.first_answer(site, port)
        except (OSError, ValueError) as error:
            answer, good = f"FAILED: {error}", False
        _say(f"  {site.name:<8} {site.address.format(port=port):<26} {answer}")
    return good


def _serve(options: argparse.Namespace) -> int:
    ports = _ports(_offer(options.install), options)
    metrics_port = sites.free_port(FIRST_METRICS_PORT, list(ports.values()))
    began_s = time.monotonic()
    with ServingKernel(_words(ports, metrics_port)) as kernel:
        _say(f"Hardtack {VERSION}: a kernel in Python, and in it")
        good = _try_all(kernel, ports)
        _say(f"  metrics  http://{LOOPBACK}:{metrics_port}/metrics")
        _say(f"({time.monotonic() - began_s:.1f} s after the start)")
        if options.once or not sys.stdout.isatty():
            status = kernel.stop()
            good = good and status == 0
            if not good:
                _say(f"status {status}; what was said inside:\n{kernel.said()}")
            return 0 if good else 1
        from boot.serve import view

        _say(MORE)
        with contextlib.suppress(KeyboardInterrupt):
            view.show(kernel, metrics_port, ports, began_s)
    return 0 if good else 1


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def serve(options: argparse.Namespace) -> int:
    """`hardtack serve`; the exit status."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        return _serve(options)
    except KernelEnded as ended:
        print(ended, file=sys.stderr)
        return ended.status or 1
    finally:
        signal.signal(signal.SIGTERM, before)
