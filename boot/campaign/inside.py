"""What runs inside: the programs of the load, and the shell script that starts them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from boot.config import DEFAULT_PATH, ConfigError

GUESTS = Path(__file__).parent / "guests"
HTTP_PORT, REDIS_PORT = 80, 6379
DATA = "/data"
"""Where the disk image is mounted: everything that is kept is written there."""
PAGE = "\n".join(hashlib.sha256(b"%d" % line).hexdigest() for line in range(500)) + "\n"
"""32 KiB that no one confuses with another page."""
ROWS = 499
"""Of the database, are kept at least."""
PROGRAMS = {"nginx": "nginx", "redis-server": "redis-server", "/bin/sh": "dash"}
PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")

NGINX_CONF = """\
user root;
worker_processes 1;
pid nginx.pid;
events { worker_connections 512; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen 80; root pages; }
}
"""

START = """\
cd {data} || exit 1
mkdir -p pages redis work
cp {guests}/page pages/page || exit 1
cat > nginx.conf <<'END'
{nginx_conf}END
nginx -p {data} -e error.log -c nginx.conf || {{ cat error.log; exit 1; }}
redis-server --port {redis_port} --protected-mode no --save '' --appendonly yes \
    --appendfsync always --dir {data}/redis >redis.log 2>&1 </dev/null &
redis=$!
cd work
/bin/sh {guests}/shell.sh </dev/null &
others=$!
{python} {guests}/database.py </dev/null &
others="$others $!"
{python} {guests}/script.py </dev/null &
others="$others $!"
read end
kill -9 $others
kill $redis $(cat ../nginx.pid)
wait
"""
"""The end of standard input is the signal to stop, and comes too when we are gone."""

CHECK = """\
cd {data}/work || exit 1
{python} {guests}/database.py check {last}
cd ../redis
redis-server --port {redis_port} --protected-mode no --save '' --appendonly yes \
    --dir {data}/redis >../redis.log 2>&1 </dev/null &
read end
kill $!
wait
"""


def python() -> str:
    """A Python for the guest that has sqlite3 and ctypes. ConfigError: there is none."""
    for path in PYTHONS:
        if not Path(path).exists():
            continue
        tried = subprocess.run(
            [path, "-c", "import sqlite3, ctypes"], capture_output=True, check=False
        )
        if tried.returncode == 0:
            return path
    raise ConfigError("a Python with sqlite3 is missing", "apt-get install python3")


def need() -> None:
    """ConfigError: a program of the load is missing here."""
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=DEFAULT_PATH) is None:
            raise ConfigError(f"{program} is missing", f"apt-get install {package}")
    python()


def write_guests(folder: Path) -> None:
    """Put everything that is to be seen inside into a folder of this machine."""
    for file in GUESTS.iterdir():
        shutil.copy(file, folder)
    (folder / "page").write_text(PAGE)


def start_script(guests: str) -> str:
    """The first program's text."""
    return START.format(
        data=DATA,
        guests=guests,
        nginx_conf=NGINX_CONF,
        redis_port=REDIS_PORT,
        python=python(),
    )


def check_script(guests: str, last: int) -> str:
    """Of the kernel that looks for what was acknowledged; `last` row of the database."""
    return CHECK.format(data=DATA, guests=guests, redis_port=REDIS_PORT, python=python(), last=last)
