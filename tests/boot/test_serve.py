"""Does `hardtack serve` choose, try, count and report as it should?"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from boot.config import ConfigError
from boot.serve import command, figures, install, sites
from boot.serve.clients import Redis, fetch, try_redis
from boot.serve.figures import Figures
from boot.serve.sites import LOOPBACK, NGINX, PYTHON, REDIS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
METRICS = """\
# TYPE hardtack_syscalls_total counter
hardtack_syscalls_total{name="read"} 30.0
hardtack_syscalls_total{name="write"} 12.0
hardtack_frames{state="free"} 1000.0
hardtack_frames{state="used"} 512.0
process_resident_memory_bytes 3.145728e+06
hardtack_gc_pause_seconds_count{generation="0"} 2.0
hardtack_gc_pause_seconds_sum{generation="0"} 0.25
"""
STATUS = "Active connections: 3 \nserver accepts handled requests\n 16 16 31 \nReading: 0\n"


def test_the_metrics_page_becomes_figures() -> None:
    values = figures.of_metrics(METRICS)
    assert (values["syscalls"], values["frames_mib"], values["host_mib"]) == (42, 2, 3)
    assert (values["pauses"], values["paused_s"]) == (2, 0.25)


def test_the_status_of_nginx_becomes_figures() -> None:
    wanted = {"http_requests": 31.0, "http_accepted": 16.0, "http_active": 3.0}
    assert figures.of_nginx(STATUS) == wanted
    assert figures.of_nginx("404 Not Found") == {}


def test_what_only_grows_is_shown_with_its_rate() -> None:
    before = Figures(10.0, {"syscalls": 100, "processes": 3})
    now = Figures(12.0, {"syscalls": 2100, "processes": 4})
    assert figures.rows(before, now) == [
        ("system calls", "2,100", "1,000"),
        ("processes", "4", ""),
    ]


class OneReply(socketserver.StreamRequestHandler):
    """A server that says what its class attribute holds, and ends."""

    reply = b""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(self.reply)


@contextlib.contextmanager
def replying(reply: bytes) -> Iterator[int]:
    handler = type("Handler", (OneReply,), {"reply": reply})
    with socketserver.TCPServer((LOOPBACK, 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_address[1]
        thread.join()


@pytest.mark.parametrize(
    ("reply", "value"),
    [(b"+PONG\r\n", "PONG"), (b":7\r\n", "7"), (b"$-1\r\n", None), (b"$3\r\na\r\n\r\n", "a\r\n")],
)
def test_replies_of_redis_are_understood(reply: bytes, value: str | None) -> None:
    with replying(reply) as port, Redis(LOOPBACK, port) as redis:
        assert redis.command("PING") == value


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"-ERR no\r\n", ValueError),
        (b"", OSError),
        (b"$9\r\nshort", OSError),
        (b"!\r\n", ValueError),
    ],
)
def test_other_replies_are_errors(reply: bytes, error: type[Exception]) -> None:
    with replying(reply) as port, pytest.raises(error):
        try_redis(LOOPBACK, port)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nanother page", ValueError),
        (b"HTTP/1.0 500 No\r\n\r\n", OSError),
        (b"SSH-2.0\r\n", OSError),
        (b"", OSError),
    ],
)
def test_another_page_or_none_is_an_error(reply: bytes, error: type[Exception]) -> None:
    with replying(reply) as port, pytest.raises(error):
        fetch(f"http://{LOOPBACK}:{port}/", "Hardtack")


def test_the_next_free_port_is_taken() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        taken = other.getsockname()[1]
        assert sites.free_port(taken) > taken
    with pytest.raises(ConfigError, match="no port from 65535"):
        sites.free_port(65535, [65535])


def test_what_is_missing_is_named_and_python_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed, found in (
        ({"nginx", "redis-server"}, [NGINX, REDIS]),
        ({"redis-server"}, [PYTHON, REDIS]),
        ({"nginx"}, [NGINX]),
        (set(), [PYTHON]),
    ):
        monkeypatch.setattr(shutil, "which", lambda name, path, known=installed: name in known)
        assert sites.choose()[0] == found
        assert {site.program for site in sites.choose()[1]} == {"nginx", "redis-server"} - installed


def test_no_daemon_starts_while_packages_are_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with install.no_daemons(policy):
        assert subprocess.run([policy], check=False).returncode == 101
    assert not policy.exists()
    policy.write_text("theirs")
    with install.no_daemons(policy):
        assert policy.read_text() == "theirs"
    assert policy.read_text() == "theirs"


def serve(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boot", "serve", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(180)
def test_servers_inside_answer_and_everything_ends() -> None:
    ran = serve("--once")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "200 OK" in ran.stdout
    if shutil.which("redis-server"):
        assert "PING gave PONG" in ran.stdout


@pytest.mark.timeout(180)
def test_without_servers_python_serves_at_the_next_free_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sites, "DEFAULT_PATH", "/nowhere")
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        taken = other.getsockname()[1]
        options = argparse.Namespace(http=taken, redis=6379, once=True, install=False)
        assert command.serve(options) == 0
    shown = capsys.readouterr().out
    assert f"port {taken} is taken: Python gets " in shown
    assert "not installed here: nginx and redis-server" in shown
    assert "200 OK" in shown


def test_a_port_that_is_none_is_told() -> None:
    ran = serve("--http", "70000")
    assert ran.returncode == 2
    assert "'70000' is no port" in ran.stderr
