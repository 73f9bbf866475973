"""Do the image and the compose file fit the code that they ship?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.net import free_port
from boot.options import build_parser, split_command, to_config
from boot.serve.clients import fetch, try_redis

if TYPE_CHECKING:
    from collections.abc import Callable

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
KNOWN_TO_BOTH = {
    *("image", "build", "command", "ports", "healthcheck", "read_only", "tmpfs", "cap_drop"),
    *("security_opt", "mem_limit", "restart", "stop_grace_period", "volumes", "depends_on"),
    "environment",
}
"""Keys of a service that docker-compose 1.29 and Compose v2 read the same way."""


def instruction(word: str) -> list[str]:
    """The JSON form of the Dockerfile's last CMD or ENTRYPOINT."""
    whole = re.sub(r"\\\n\s+\"", '"', DOCKERFILE)
    found: list[str] = json.loads(re.findall(rf"^{word} (\[.*\])$", whole, re.MULTILINE)[-1])
    return found


def defaults(word: str) -> str:
    """A compose value with every ${NAME:-default} at its default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word)


@pytest.mark.parametrize("where", ["image", "compose"])
def test_the_command_is_one_that_we_understand(where: str) -> None:
    words = instruction("CMD") if where == "image" else COMPOSE["services"]["hardtack"]["command"]
    assert instruction("ENTRYPOINT") == ["hardtack"]
    assert words[0] == "run"
    words = [defaults(word).replace("/data:/data", f"{ROOT}:/data") for word in words]
    ours, command = split_command(words[1:])
    config = to_config(build_parser().parse_args(["run", *ours]), command)
    assert config.metrics is not None
    assert (config.metrics.host, config.metrics.port) == ("0.0.0.0", 9100)
    assert command == ("/opt/hardtack/servers.sh",)
    assert {(one.host_port, one.guest_port) for one in config.published} == {
        (8080, 8080),
        (6379, 6379),
    }


def test_the_health_check_asks_what_is_served() -> None:
    checks = [instruction("    CMD"), COMPOSE["services"]["hardtack"]["healthcheck"]["test"][1:]]
    for check in checks:
        assert check[:2] == ["python", "-c"]
        compile(check[2], "healthcheck", "exec")
        assert "http://127.0.0.1:9100/healthz" in check[2]


def test_everything_that_is_copied_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in kept, source


def test_every_dependency_is_pinned_and_allowed() -> None:
    pins = dict(
        line.split("==")
        for line in (ROOT / "deploy/requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    known = {name.lower().replace("_", "-") for name in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        assert re.split(r"[<>=\[]", requirement)[0].lower().replace("_", "-") in known


def test_both_compose_generations_can_read_it() -> None:
    assert "version" not in COMPOSE
    for service in COMPOSE["services"].values():
        assert set(service) <= KNOWN_TO_BOTH


def test_prometheus_scrapes_the_port_that_is_served() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["hardtack:9100"]}]
    assert "hardtack" in COMPOSE["services"]["prometheus"]["depends_on"]
    assert "USER 10001:10001" in DOCKERFILE


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose here")
def test_docker_compose_accepts_it() -> None:
    environment = {**os.environ, "COMPOSE_PROJECT_NAME": "hardtack-test"}
    subprocess.run(["docker-compose", "config", "-q"], cwd=ROOT, env=environment, check=True)


@pytest.mark.skipif(
    None in map(shutil.which, ("nginx", "redis-server")), reason="no nginx or redis-server"
)
def test_the_guest_that_is_shipped_serves() -> None:
    http, redis = free_port(), free_port()
    options = ("-p", f"127.0.0.1:{http}:8080", "-p", f"127.0.0.1:{redis}:6379")
    words = [sys.executable, "-m", "boot", "run", *options, "--", str(ROOT / "deploy/servers.sh")]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as kernel:
        try:
            assert kernel.stdout is not None
            assert kernel.stdout.readline() == "NGINX at port 8080, Redis at port 6379\n"
            assert "200 OK" in answer(lambda: fetch(f"http://127.0.0.1:{http}/", "Hardtack"))
            assert answer(lambda: try_redis("127.0.0.1", redis))
            kernel.terminate()
            assert kernel.wait(20) in (0, 143)
        finally:
            kernel.kill()


def answer(ask: Callable[[], str], patience_s: float = 60) -> str:
    """What `ask` says in the end."""
    end = time.monotonic() + patience_s
    while True:
        try:
            return ask()
        except (OSError, ValueError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_what_prometheus_reads_is_shipped() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    mounted = {volume.split(":")[1] for volume in COMPOSE["services"]["prometheus"]["volumes"]}
    for name in config["rule_files"]:
        assert f"/etc/prometheus/{name}" in mounted


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
@pytest.mark.parametrize("what", ["check rules", "test rules"])
def test_the_alerts_do_what_they_say(what: str) -> None:
    name = "alerts.yml" if what == "check rules" else "alerts_test.yml"
    words = ["promtool", *what.split(), str(ROOT / "deploy" / name)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_panels_ask_for_what_there_is() -> None:
    """Names and labels are those of a kernel's page."""
    sources = {"boot", "bus", "services"}
    told = " ".join(
        path.read_text() for folder in sources for path in (ROOT / folder).rglob("*.py")
    )
    told = told.replace('f"hardtack_gc_{unit}"', "").replace("{unit}", "frames")
    asked = (ROOT / "deploy/alerts.yml").read_text()
    asked += (ROOT / "deploy/grafana/dashboards/hardtack.json").read_text()
    known = set(re.findall(r"hardtack_[a-z_]+", told))
    known |= {f"hardtack_gc_{unit}" for unit in ("collections_total", "collection_seconds_total")}
    known |= {f"hardtack_nic_{unit}_total" for unit in ("frames", "bytes")}
    for name in set(re.findall(r"hardtack_[a-z_]+", asked)):
        assert re.sub(r"_(bucket|count|sum)$", "", name) in known, name


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0,
    reason="no container engine here",
)
def test_the_compose_file_does_all_it_says() -> None:
    """With the base image that `HARDTACK_BASE` names, or one of Debian's packages alone."""
    base = os.environ.get("HARDTACK_BASE", "")
    if not base:
        base = "hardtack-base"
        subprocess.run([ROOT / "deploy/base.sh", base], check=True)
    words = ["--base", base, "--prometheus", "debian", "--grafana", "none"]
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/try.py", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
