"""Kernels in the background with servers in them, and what a test needs to use them.

The first program is a shell that starts the servers and waits for the end of its standard input;
so a test stops its kernel by closing a pipe, and checks then that the kernel had nothing to say:
its own complaints (leaks, crashes) are all that can reach standard error, since what the servers
say goes to files inside.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPOSITORY = Path(__file__).resolve().parents[3]
HARDTACK = [sys.executable, "-m", "boot", "run"]
LOOPBACK = "127.0.0.1"
HOST_INSIDE = "10.0.2.2"
"""Where programs inside find this machine's own loopback address."""
READY_S, STOP_S, LIMIT_S = 40.0, 20.0, 60.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

NGINX_CONF = """\
user www-data;
worker_processes 2;
pid nginx.pid;
events { worker_connections 4096; use epoll; }
worker_rlimit_nofile 8192;
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_max_body_size 64m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen 80 backlog=4096;
        root pages;
        location = /status { stub_status; }
        location /upload/ { dav_methods PUT DELETE; create_full_put_path on; }
    }
}
"""
NGINX = f"""\
mkdir -m 777 pages/upload
cat > nginx.conf <<'END'
{NGINX_CONF}END
nginx -p . -e error.log -c nginx.conf || {{ cat error.log; exit 1; }}
servers="$servers $(cat nginx.pid)"
"""
"""Two workers on port 80; `pages` is what they show. It goes to the background by itself."""

REDIS = """\
redis-server --port 6379 --protected-mode no --save '' --dir . >redis.log 2>&1 </dev/null &
servers="$servers $!"
"""
MEMCACHED = """\
memcached -u root -p 11211 >memcached.log 2>&1 </dev/null &
servers="$servers $!"
"""
FOLDER = "mkdir -p /tmp/inside/pages && cd /tmp/inside && echo hello from inside > pages/hello\n"
WAIT = 'echo started; read end; [ -z "$servers" ] || kill $servers; wait\n'


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a program is missing."""
    missing = [name for name in programs if shutil.which(name, path=PATH) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {' '.join(missing)} on this machine")


def free_port() -> int:
    """A port of the loopback address that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.frozen
class Inside:
    """A kernel that serves. `ports` leads from the port inside to the one of this machine."""

    process: subprocess.Popen[str]
    ports: dict[int, int]

    def url(self, path: str = "", port: int = 80) -> str:
        """The address of a page, from here."""
        return f"http://{LOOPBACK}:{self.ports[port]}/{path}"

    def wait_for(self, port: int, answers: Callable[[int], bool]) -> None:
        """Until what serves `port` inside answers."""
        deadline = time.monotonic() + READY_S
        while True:
            assert self.process.poll() is None, "the kernel ended"
            with contextlib.suppress(OSError):
                if answers(self.ports[port]):
                    return
            assert time.monotonic() < deadline, f"nobody answers at port {port}"
            time.sleep(0.05)


def talks(data: bytes, reply: bytes) -> Callable[[int], bool]:
    """A question: does a server at a port of this machine reply so?"""

    def ask(port: int) -> bool:
        with socket.create_connection((LOOPBACK, port), 5) as stream:
            stream.sendall(data)
            return stream.recv(len(reply)) == reply

    return ask


NGINX_UP = talks(b"HEAD /hello HTTP/1.0\r\n\r\n", b"HTTP/1.1 200")
REDIS_UP = talks(b"PING\r\n", b"+PONG")
MEMCACHED_UP = talks(b"version\r\n", b"VERSION")


@contextlib.contextmanager
def serving(
    servers: str, ports: tuple[int, ...], *, hardtack: Sequence[str] = HARDTACK
) -> Iterator[Inside]:
    """A kernel in which these servers run; at the end it stops well, without a word."""
    published = {port: free_port() for port in ports}
    words = [*hardtack]
    for inside, here in published.items():
        words += ["-p", f"{LOOPBACK}:{here}:{inside}"]
    with subprocess.Popen(
        [*words, "--", "/bin/sh", "-c", FOLDER + servers + WAIT],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "started\n", line + process.communicate(timeout=STOP_S)[1]
            yield Inside(process, published)
            said, complaints = process.communicate(timeout=STOP_S)
        finally:
            process.kill()
    ended = (process.returncode, complaints, said)
    assert ended == (0, "", ""), ended


def run_inside(script: str, *options: str, limit_s: float = LIMIT_S) -> str:
    """Run a shell script in a kernel of its own; its output. It must end well, without a word."""
    ran = subprocess.run(
        [*HARDTACK, *options, "--", "/bin/sh", "-c", script],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    return ran.stdout


def run_here(*words: str, stdin: str = "", limit_s: float = LIMIT_S) -> str:
    """Run a program of this machine; its output. It must end well."""
    ran = subprocess.run(
        words,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit_s,
        env={"PATH": PATH},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout
