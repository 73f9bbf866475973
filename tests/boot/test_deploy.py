"""Do the image and the compose file fit the code that they ship?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from boot.options import build_parser, split_command, to_config

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
KNOWN_TO_BOTH = {
    *("image", "build", "command", "ports", "healthcheck", "read_only", "tmpfs", "cap_drop"),
    *("security_opt", "mem_limit", "restart", "stop_grace_period", "volumes", "depends_on"),
}
"""Keys of a service that docker-compose 1.29 and Compose v2 read the same way."""


def instruction(word: str) -> list[str]:
    """The JSON form of the Dockerfile's last CMD or ENTRYPOINT."""
    found: list[str] = json.loads(re.findall(rf"^{word} (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1])
    return found


def defaults(word: str) -> str:
    """A compose value with every ${NAME:-default} at its default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word)


@pytest.mark.parametrize("where", ["image", "compose"])
def test_the_command_is_one_that_we_understand(where: str) -> None:
    words = instruction("CMD") if where == "image" else COMPOSE["services"]["hardtack"]["command"]
    assert instruction("ENTRYPOINT") == ["hardtack"]
    assert words[0] == "run"
    ours, command = split_command([defaults(word) for word in words[1:]])
    config = to_config(build_parser().parse_args(["run", *ours]), command)
    assert config.metrics is not None
    assert (config.metrics.host, config.metrics.port) == ("0.0.0.0", 9100)
    assert command == ("/opt/hardtack/heartbeat.sh",)


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


def test_the_guest_that_is_shipped_runs() -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "boot",
            "run",
            "-e",
            "BEATS=2",
            "-e",
            "HEARTBEAT_S=0",
            "--",
            str(ROOT / "deploy/heartbeat.sh"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [line.split(":")[0] for line in ran.stdout.splitlines()] == ["beat 1", "beat 2"]
