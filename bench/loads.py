"""A server and its client in one run: the script that starts both, and what the client prints.

Both run inside the platform, over its loopback, under one shell: the server is started and waited
for (each writes its pid file once it listens), the client runs once to warm both up and once to
count, the server is stopped. The clock is the client's own, so none of the rest counts.

The files that a server needs lie in a scratch directory of the host, made for each run; natively
the server writes there, elsewhere into the platform's overlay of it.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING

import attrs

from bench.measure import RunFailed, Sample
from bench.platforms import GUEST_PROGRAMS
from bench.run import parse_report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PAGE_BYTES = 612
"""The size of the page that NGINX ships, which others have measured with."""

# Without tcp_nopush, which Debian's configuration has: on gVisor, such a connection that is closed
# at once loses the reply.
NGINX_CONF = """\
user root;
worker_processes auto;
daemon off;
pid server.pid;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen 127.0.0.1:%PORT%; root pages; }
}
"""

SBIN = ":/usr/sbin:/sbin"
"""Where Debian has its servers, and where an ordinary user's PATH does not lead."""

SCRIPT = """\
PATH=$PATH%(sbin)s
cd %(scratch)s || exit 1
%(server)s >server.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait' EXIT
trap 'exit 143' INT TERM
until [ -s server.pid ]; do
    kill -0 $server 2>/dev/null || { tail -n 1 server.log >&2; exit 1; }
    sleep 0.02
done
%(warm_up)s >/dev/null || exit
%(client)s
"""


@attrs.frozen
class Server:
    """A program that serves at `{port}` and writes `server.pid` once it does.

    `files` are what it needs in its directory; `%PORT%` in them is replaced.
    """

    command: str
    needs: dict[str, str]
    files: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Load:
    """A server under a client, whose command line is told `{count}` and `{port}`."""

    server: Server
    client: str
    needs: dict[str, str]
    """Programs, and the Debian packages that have them; but for those of user/."""
    warm_up: int
    """The client's count for the run that is not counted."""
    read: Callable[[str, float, int], Sample]
    """Makes a sample of what it prints, the time that passed, and the count."""


def read_redis_benchmark(text: str, wall_s: float, count: int) -> Sample:
    """The last line of `redis-benchmark --csv`: the second column is requests per second."""
    try:
        *_, last = csv.reader(text.splitlines())
        return Sample(count, count / float(last[1]), "request", wall_s)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise RunFailed(f"redis-benchmark printed {text.strip()[-200:]!r}") from error


UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def read_wrk(text: str, wall_s: float, seconds: int) -> Sample:
    """wrk's summary; a refused request or a broken connection fails the run."""
    for complaint in ("Socket errors", "Non-2xx"):
        if complaint in text:
            line = next(line for line in text.splitlines() if complaint in line)
            raise RunFailed(f"wrk: {line.strip()}")
    found = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h)\b", text)
    if found is None or int(found[1]) == 0:
        raise RunFailed(f"wrk printed {text.strip()[-200:]!r}")
    return Sample(int(found[1]), float(found[2]) * UNITS_S[found[3]], "request", wall_s)


def read_memload(text: str, wall_s: float, count: int) -> Sample:
    """A line of JSON, as all programs of user/."""
    return parse_report(text, wall_s)


REDIS = Server(
    "redis-server --port {port} --bind 127.0.0.1 --save '' --dir . --pidfile server.pid",
    {"redis-server": "redis-server"},
)
NGINX = Server(
    "nginx -p . -e error.log -c nginx.conf",
    {"nginx": "nginx"},
    {"nginx.conf": NGINX_CONF, "pages/page": "x" * (PAGE_BYTES - 1) + "\n"},
)
MEMCACHED = Server(
    "memcached -u root -U 0 -l 127.0.0.1 -p {port} -P server.pid", {"memcached": "memcached"}
)


def redis_benchmark(command: str) -> Load:
    """Fifty connections, each with one request under way."""
    return Load(
        REDIS,
        f"redis-benchmark -h 127.0.0.1 -p {{port}} -c 50 -n {{count}} -t {command} --csv",
        {"redis-benchmark": "redis-tools"},
        500,
        read_redis_benchmark,
    )


def wrk(options: str = "") -> Load:
    """Sixty-four connections that fetch one small page; `count` is in seconds."""
    return Load(
        NGINX,
        f"wrk -t 1 -c 64 -d {{count}}s {options} http://127.0.0.1:{{port}}/page",
        {"wrk": "wrk"},
        1,
        read_wrk,
    )


def memload(command: str) -> Load:
    """Fifty connections, each with one request under way."""
    program = shlex.quote(str(GUEST_PROGRAMS / "memload"))
    return Load(MEMCACHED, f"{program} {command} {{count}} 50 {{port}}", {}, 500, read_memload)


def prepare(server: Server, scratch: Path, port: int) -> None:
    """Write the files that the server needs."""
    for name, text in server.files.items():
        path = scratch / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("%PORT%", str(port)))


def script(load: Load, scratch: Path, port: int, count: int) -> str:
    """The run, for a shell."""
    return SCRIPT % {
        "sbin": SBIN,
        "scratch": shlex.quote(str(scratch)),
        "server": load.server.command.format(port=port),
        "warm_up": load.client.format(port=port, count=load.warm_up),
        "client": load.client.format(port=port, count=count),
    }


def missing(load: Load) -> dict[str, str]:
    """The programs that this machine lacks, and the packages that have them."""
    path = os.environ.get("PATH", os.defpath) + SBIN
    needs = load.server.needs | load.needs
    return {name: by for name, by in needs.items() if not shutil.which(name, path=path)}
