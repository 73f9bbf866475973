"""Do memcached and Python's servers serve this machine, and is a port that is taken told?"""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.programs.servers.inside import (
    HARDTACK,
    LOOPBACK,
    MEMCACHED,
    MEMCACHED_UP,
    REPOSITORY,
    Inside,
    needs,
    run_here,
    serving,
    talks,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)
HTTP_SERVER = """\
python3 -u -m http.server --directory pages 8000 >python.log 2>&1 </dev/null &
servers="$servers $!"
"""
LEDGER = """\
cat > ledger.py <<'END'
import http.server, json, sqlite3

class Ledger(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with sqlite3.connect("ledger.db", timeout=30) as db:
            db.execute("create table if not exists rows (name text, amount int)")
            db.execute("insert into rows values (?, ?)", row)
        self.answer(None)

    def do_GET(self):
        with sqlite3.connect("ledger.db") as db:
            self.answer(db.execute("select count(*), sum(amount) from rows").fetchone())

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", 8001), Ledger).serve_forever()
END
python3 ledger.py >ledger.log 2>&1 </dev/null &
servers="$servers $!"
"""


@needs("memcached")
def test_memcached_answers_a_client_of_this_machine(user_programs: Path) -> None:
    with serving(MEMCACHED, (11211,)) as inside:
        inside.wait_for(11211, MEMCACHED_UP)
        port = inside.ports[11211]
        for command in ("set", "get"):
            shown = run_here(
                str(user_programs / "memload"), command, "400", "10", str(port), "5000"
            )
            assert json.loads(shown)["iterations"] == 400
        with socket.create_connection((LOOPBACK, port), 10) as stream:
            stream.sendall(b"set n 0 0 2\r\n41\r\nincr n 1\r\nget nothing\r\nquit\r\n")
            assert stream.makefile("rb").read() == b"STORED\r\n42\r\nEND\r\n"


def page(inside: Inside, port: int, path: str = "", data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(inside.url(path, port), data, timeout=30) as answer:
        body: bytes = answer.read()
        return body


def test_python_serves_files_and_a_database() -> None:
    with serving(HTTP_SERVER + LEDGER, (8000, 8001)) as inside:
        for port in (8000, 8001):
            inside.wait_for(port, talks(b"HEAD / HTTP/1.0\r\n\r\n", b"HTTP/1."))
        assert page(inside, 8000, "hello") == b"hello from inside\n"
        assert b'<a href="hello">' in page(inside, 8000)
        with ThreadPoolExecutor(4) as pool:
            rows = [json.dumps([f"sailor {n}", n]).encode() for n in range(20)]
            assert set(pool.map(lambda row: page(inside, 8001, data=row), rows)) == {b"null"}
        assert json.loads(page(inside, 8001)) == [20, sum(range(20))]


def test_a_port_that_is_taken_is_told_on_one_line() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        words = [*HARDTACK, "-p", f"{LOOPBACK}:{port}:80", "--", "/bin/true"]
        ran = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("hardtack: error: ")
    assert str(port) in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_connection_to_a_port_where_nobody_listens_inside_is_reset() -> None:
    with (
        serving("", (81,)) as inside,
        pytest.raises(ConnectionResetError),  # as soon as it connects, or when it reads
        socket.create_connection((LOOPBACK, inside.ports[81]), 10) as stream,
    ):
        stream.recv(1)
