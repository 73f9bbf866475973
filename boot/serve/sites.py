"""What is served: the servers, the script that starts them inside, and how each is tried.

NGINX and Redis are the host's own programs, unmodified. Where the host has neither, Python's own
web server stands in. Their files are written inside the kernel, so the host's disk is not touched.
"""

from __future__ import annotations

import shutil
import socket
import sys
from typing import TYPE_CHECKING

import attrs

from boot.config import DEFAULT_PATH, ConfigError
from boot.serve.clients import fetch, try_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOPBACK = "127.0.0.1"
PORTS_TRIED = 100
MARK = "Hardtack"
"""A word that the page holds."""

PAGE = f"""\
<!doctype html>
<title>{MARK}</title>
<h1>{MARK}</h1>
<p>A web server of this machine, unmodified, sends you this page from inside a kernel that is
written in Python and runs on an emulated processor.</p>
<p>$(uname -a)</p>
"""

NGINX_CONF = """\
user root;
worker_processes 2;
daemon off;
pid nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    default_type text/html;
    sendfile on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen 80;
        root pages;
        location = /status { stub_status; }
    }
}
"""

SCRIPT = """\
mkdir -p /tmp/serve/pages && cd /tmp/serve || exit 1
cat > pages/index.html <<END
{page}END
cat > nginx.conf <<'END'
{nginx_conf}END
{starts}
read end                # the end of standard input is the signal to stop
kill $servers
wait
tail -n 3 -- *.log      # seen only where something did not answer
"""


@attrs.frozen
class Site:
    """One server. `attempt` uses it at a port of this machine; what it says is shown."""

    name: str
    program: str
    package: str
    command: str
    guest_port: int
    host_port: int
    """Wanted; the next free one is taken."""
    address: str
    """`{port}` is the host's."""
    attempt: Callable[[int], str]
    """OSError: no answer. ValueError: a wrong one."""


def _try_page(port: int) -> str:
    return fetch(f"http://{LOOPBACK}:{port}/", MARK)


NGINX = Site(
    name="NGINX",
    program="nginx",
    package="nginx",
    command="nginx -p . -e error.log -c nginx.conf",
    guest_port=80,
    host_port=8080,
    address=f"http://{LOOPBACK}:{{port}}/",
    attempt=_try_page,
)
REDIS = Site(
    name="Redis",
    program="redis-server",
    package="redis-server",
    command="redis-server --port 6379 --protected-mode no --save '' --dir .",
    guest_port=6379,
    host_port=6379,
    address="redis-cli -p {port}",
    attempt=lambda port: try_redis(LOOPBACK, port),
)
PYTHON = attrs.evolve(
    NGINX,
    name="Python",
    program=sys.executable,
    package="python3",
    command=f"'{sys.executable}' -m http.server --directory pages 80",
)


def choose() -> tuple[list[Site], list[Site]]:
    """What this machine can serve, at least one; and what it lacks."""
    lacking = [site for site in (NGINX, REDIS) if not shutil.which(site.program, path=DEFAULT_PATH)]
    found = [site for site in (NGINX, REDIS) if site not in lacking]
    return (found if NGINX in found else [PYTHON, *found]), lacking


def free_port(wanted: int, taken: Sequence[int] = ()) -> int:
    """The first port of the loopback address, from `wanted` on, that nobody listens on."""
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ConfigError(
        f"no port from {wanted} to {wanted + PORTS_TRIED - 1} is free", "end what listens there"
    )


def script(sites: Sequence[Site]) -> str:
    """What the first process inside, a shell, does."""
    starts = "".join(
        f'{site.command} >{at}.log 2>&1 </dev/null &\nservers="$servers $!"\n'
        for at, site in enumerate(sites)
    )
    return SCRIPT.format(page=PAGE, nginx_conf=NGINX_CONF, starts=starts)
