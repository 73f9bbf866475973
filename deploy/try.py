#!/usr/bin/env python3
"""Bring the compose file up, use all of it, and tell what holds; ends with status 1 where something
does not. Needs a container engine and docker-compose 1.29, or `docker compose`; nothing is left.

    deploy/try.py [--base IMAGE] [--prometheus IMAGE] [--grafana IMAGE|none]

--base: of the kernel's image, e.g. one of deploy/base.sh. `--prometheus debian` makes a stand-in
for its image of that base and this machine's /usr/bin/prometheus.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE_S = 180.0
STAND_IN = """\
FROM {base}
COPY prometheus /usr/bin/prometheus
USER 65534
ENTRYPOINT ["/usr/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml", \\
            "--storage.tsdb.path=/tmp"]
"""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(url: str) -> str:
    """What is there; OSError."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def redis(port: int, *words: str) -> str:
    """One command, and its answer's first line."""
    text = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.sendall(text.encode())
        with link.makefile("r") as lines:
            head = lines.readline().strip()
            return lines.readline().strip() if head.startswith("$") else head


class Trial:
    """The containers of one run, under a name and ports of their own."""

    def __init__(self, base: str, prometheus: str, grafana: str) -> None:
        self.ports = {
            name: free_port() for name in ("METRICS", "HTTP", "REDIS", "PROMETHEUS", "GRAFANA")
        }
        names = {name: f"HARDTACK_{name}_PORT" for name in ("METRICS", "HTTP", "REDIS")}
        self.environment = {
            **os.environ,
            **{names.get(name, f"{name}_PORT"): str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": f"hardtack-try-{os.getpid()}",
        }
        if base:
            self.environment["HARDTACK_BASE"] = base
        if prometheus:
            self.environment["PROMETHEUS_IMAGE"] = prometheus
        if grafana not in ("", "none"):
            self.environment["GRAFANA_IMAGE"] = grafana
        self.services = ["hardtack", "prometheus", *(["grafana"] if grafana != "none" else [])]
        self.failures = 0

    def compose(self, *words: str) -> str:
        """`docker compose`; CalledProcessError."""
        plugin = not subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
        command = ["docker", "compose"] if plugin else ["docker-compose"]
        done = subprocess.run(
            [*command, *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
        return done.stdout

    def check(self, what: str, found: Any) -> None:
        """Tell what holds."""
        self.failures += not found
        print(f"{'holds' if found else 'FAILS'}  {what}", flush=True)

    def eventually(self, what: str, ask: Any) -> Any:
        """`check` of what may take a while; the answer."""
        found, end = None, time.monotonic() + PATIENCE_S
        while not found and time.monotonic() < end:
            try:
                found = ask()
            except (OSError, ValueError, KeyError, IndexError, subprocess.CalledProcessError):
                found = None
            if not found:
                time.sleep(2)
        self.check(what, found)
        return found

    def query(self, expression: str) -> list[Any]:
        """Prometheus' answer now."""
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS']}/api/v1/query?"
        answer = json.loads(get(url + urllib.parse.urlencode({"query": expression})))
        result: list[Any] = answer["data"]["result"]
        return result

    def number(self, expression: str) -> float:
        """Its first value."""
        return float(self.query(expression)[0]["value"][1])

    def run(self) -> None:
        """Everything, in order."""
        http, port = f"http://127.0.0.1:{self.ports['HTTP']}/", self.ports["REDIS"]
        self.compose("up", "-d", *self.services)
        self.eventually("NGINX answers", lambda: "Hardtack" in get(http))
        self.eventually("Redis takes a value", lambda: redis(port, "SET", "k", "v") == "+OK")
        self.check("Redis gives it back", redis(port, "GET", "k") == "v")
        targets = f"http://127.0.0.1:{self.ports['PROMETHEUS']}/api/v1/targets"
        self.eventually(
            "Prometheus' targets are all up",
            lambda: (
                {t["health"] for t in json.loads(get(targets))["data"]["activeTargets"]} == {"up"}
            ),
        )
        self.eventually(
            "the histogram of GC pauses answers",
            lambda: self.query(
                "histogram_quantile(0.99, sum by (le) (hardtack_gc_pause_seconds_bucket))"
            ),
        )
        said = self.compose("exec", "-T", "hardtack", "hardtack", "fault", "net", "crash")
        print(f"       hardtack fault net crash: {said.strip()}")
        self.eventually(
            "the restart is in the metrics",
            lambda: self.number('hardtack_service_restarts_total{service="net"}') >= 1,
        )
        self.check("NGINX still answers", "Hardtack" in get(http))
        self.check("Redis still has the value", redis(port, "GET", "k") == "v")
        self.dashboard()
        if "grafana" in self.services:
            page = f"http://127.0.0.1:{self.ports['GRAFANA']}/api/dashboards/uid/hardtack"
            self.eventually("Grafana has the dashboard", lambda: '"Hardtack"' in get(page))
        self.compose("restart", "hardtack")
        self.eventually("Redis's data outlive a restart", lambda: redis(port, "GET", "k") == "v")

    def dashboard(self) -> None:
        """Every query of every panel."""
        text = (ROOT / "deploy/grafana/dashboards/hardtack.json").read_text()
        for panel in json.loads(text)["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", "1m")
                get(f"http://127.0.0.1:{self.ports['HTTP']}/")
                redis(self.ports["REDIS"], "INCR", "n")
                self.eventually(
                    f"panel {panel['title']!r}: {target['legendFormat']}",
                    lambda e=expression: self.query(e),
                )

    def close(self) -> None:
        """Nothing is left but the images."""
        self.compose("down", "-v", "--remove-orphans")


def stand_in(base: str) -> str:
    """An image with this machine's Prometheus."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("deploy/try.py: no prometheus here (apt-get install prometheus)")
    folder = Path(f"/tmp/hardtack-stand-in-{os.getpid()}")
    folder.mkdir()
    try:
        shutil.copy(program, folder / "prometheus")
        (folder / "Dockerfile").write_text(STAND_IN.format(base=base))
        subprocess.run(
            ["docker", "build", "-q", "-t", "hardtack-prometheus", str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    finally:
        shutil.rmtree(folder)
    return "hardtack-prometheus"


def main() -> int:
    """The status."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--base", default="", help="the base of the kernel's image")
    parser.add_argument("--prometheus", default="", help="its image; debian: made here")
    parser.add_argument("--grafana", default="", help="its image; none: left out")
    options = parser.parse_args()
    prometheus = stand_in(options.base) if options.prometheus == "debian" else options.prometheus
    trial = Trial(options.base, prometheus, options.grafana)
    try:
        trial.run()
    except subprocess.CalledProcessError as error:
        trial.check(f"{' '.join(error.cmd)}: {(error.stderr or error.stdout).strip()[-300:]}", None)
    finally:
        trial.close()
    print(f"{trial.failures} of it did not hold" if trial.failures else "all of it holds")
    return int(bool(trial.failures))


if __name__ == "__main__":
    sys.exit(main())
