"""Do unmodified clients inside reach servers inside, and servers of this machine?"""

from __future__ import annotations

import contextlib
import http.server
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.programs.servers.inside import (
    FOLDER,
    HOST_INSIDE,
    LOOPBACK,
    NGINX,
    PATH,
    REDIS,
    REDIS_UP,
    free_port,
    needs,
    run_inside,
)

if TYPE_CHECKING:
    import socketserver
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)
STOP = "kill $servers; wait\n"
REDIS_READY = "until redis-cli ping >ping.log 2>&1; do sleep 0.05; done\n"
PYTHON_CLIENTS = """\
cat > clients.py <<'END'
import asyncio, sys, urllib.request

host, port = sys.argv[1], int(sys.argv[2])
with urllib.request.urlopen(f"http://{host}:{port}/hello", timeout=30) as page:
    print(page.status, page.read().decode(), end="")

async def fetch():
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /hello HTTP/1.0\\r\\n\\r\\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.rpartition(b"\\r\\n\\r\\n")[2]

async def main():
    print(set(await asyncio.gather(*(fetch() for _ in range(10)))))

asyncio.run(main())
END
"""
FETCHED = "200 hello from inside\n{b'hello from inside\\n'}\n"
ASYNCIO_BOTH = """\
cat > both.py <<'END'
import asyncio

async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def ask(port, size):
    reader, writer = await asyncio.open_connection("localhost", port)
    data = bytes(i % 251 for i in range(size))
    writer.write(data)
    got = await reader.readexactly(size)
    writer.close()
    await writer.wait_closed()
    return got == data

async def main():
    server = await asyncio.start_server(echo, "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    sizes = [1, 1000, 100_000, 1_000_000] * 2
    print(all(await asyncio.gather(*(ask(port, size) for size in sizes))))

asyncio.run(main())
END
python3 both.py
"""


@needs("redis-server", "redis-benchmark")
def test_redis_benchmark_and_redis_inside() -> None:
    shown = run_inside(
        FOLDER + REDIS + REDIS_READY + "redis-benchmark -n 1000 -c 20 -t get,set --csv\n" + STOP
    )
    assert [line.split(",")[0] for line in shown.splitlines()[1:]] == ['"SET"', '"GET"']


@needs("nginx", "curl", "wrk", "python3")
def test_curl_wrk_and_python_use_nginx_inside() -> None:
    clients = """
    curl -sS http://127.0.0.1/hello http://localhost/hello
    wrk -t 1 -c 8 -d 1s http://127.0.0.1/hello >wrk.log && ! grep -E 'Socket errors|Non-2xx' wrk.log
    python3 clients.py 127.0.0.1 80
    """
    shown = run_inside(FOLDER + NGINX + PYTHON_CLIENTS + clients + STOP)
    assert shown == "hello from inside\n" * 2 + FETCHED


def test_asyncio_serves_itself() -> None:
    assert run_inside(FOLDER + ASYNCIO_BOTH) == "True\n"


class Hello(http.server.BaseHTTPRequestHandler):
    """Serves one page, and keeps quiet."""

    PAGE: ClassVar = b"hello from inside\n"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.PAGE)))
        self.end_headers()
        self.wfile.write(self.PAGE)

    def log_message(self, *words: object) -> None:
        pass


class Backlogged(http.server.ThreadingHTTPServer):
    """Takes more connections at once than socketserver's five."""

    request_queue_size = 128


@contextlib.contextmanager
def served_here(server: socketserver.BaseServer) -> Iterator[int]:
    """A server of this machine, in a thread; its port."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]  # type: ignore[misc]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@needs("curl", "wrk", "python3")
def test_clients_inside_reach_a_web_server_of_this_machine() -> None:
    with served_here(Backlogged((LOOPBACK, 0), Hello)) as port:
        clients = f"""
        curl -sS http://{HOST_INSIDE}:{port}/hello
        wrk -t 1 -c 4 -d 1s http://{HOST_INSIDE}:{port}/ >wrk.log
        ! grep -E 'Non-2xx|connect [1-9]' wrk.log
        python3 clients.py {HOST_INSIDE} {port}
        """
        shown = run_inside(FOLDER + PYTHON_CLIENTS + clients)
    assert shown == "hello from inside\n" + FETCHED


@needs("redis-server", "redis-benchmark")
def test_redis_benchmark_inside_reaches_a_redis_of_this_machine(tmp_path: Path) -> None:
    port = free_port()
    words = ["redis-server", "--port", str(port), "--bind", LOOPBACK, "--save", ""]
    with subprocess.Popen(
        [*words, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL, env={"PATH": PATH}
    ) as redis:
        try:
            wait_until(port)
            shown = run_inside(
                f"redis-benchmark -h {HOST_INSIDE} -p {port} -n 500 -c 10 -t set,get --csv"
            )
        finally:
            redis.kill()
    assert [line.split(",")[0] for line in shown.splitlines()[1:]] == ['"SET"', '"GET"']


def wait_until(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if REDIS_UP(port):
                return
        time.sleep(0.05)
    pytest.fail("redis-server of this machine does not answer")


def test_a_server_of_this_machine_that_is_not_there_refuses() -> None:
    port = free_port()
    script = f"""python3 -c '
import socket
try:
    socket.create_connection(("{HOST_INSIDE}", {port}), 20)
except OSError as error:
    print(type(error).__name__)
'"""
    assert run_inside(script) == "ConnectionRefusedError\n"


def test_names_are_resolved() -> None:
    shown = run_inside("getent hosts localhost")
    assert shown.split()[-1] == "localhost"
    assert socket.inet_pton(socket.AF_INET6 if ":" in shown else socket.AF_INET, shown.split()[0])
