"""Does an unmodified memcached, its datagrams taken in batches, answer as it does without?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.script.test_programs import hardtack

if TYPE_CHECKING:
    from pathlib import Path

SERVE = """\
{preload} memcached -u root -U 11211 -l 127.0.0.1 -p 11211 -t 1 -P /tmp/mc.pid & server=$!
until [ -s /tmp/mc.pid ]; do sleep 0.05; done
{client}
status=$?; kill $server; exit $status
"""
ODD = r"""
import socket, struct
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.settimeout(5)
tcp = socket.create_connection(("127.0.0.1", 11211))
big = b"x" * 5000
tcp.sendall(b"set big 0 0 5000\r\n" + big + b"\r\n"); print(tcp.recv(99))
tcp.sendall(b"set key 0 0 3\r\nabc\r\n"); print(tcp.recv(99))
def frame(number, text): return struct.pack(">HHHH", number, 0, 1, 0) + text
to = ("127.0.0.1", 11211)
for turn in range(3):
    for number in range(40):
        udp.sendto(frame(number, b"get key\r\n"), to)
    udp.sendto(b"short", to)
    answers = [udp.recv(9999) for _ in range(40)]
    print(sorted(int.from_bytes(a[:2], "big") for a in answers) == list(range(40)), answers[0][8:])
udp.sendto(frame(7, b"get big\r\n"), to)
parts = sorted(((int.from_bytes(p[2:4], "big"), p) for p in (udp.recv(9999) for _ in range(4))))
print(big in b"".join(p[8:] for _, p in parts))
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); other.settimeout(5)
other.sendto(frame(1, b"get key\r\n"), to); udp.sendto(frame(2, b"get none\r\n"), to)
print(other.recv(99)[8:], udp.recv(99)[8:])
for _ in range(50):
    tcp.sendall(b"get key\r\n"); assert tcp.recv(99).endswith(b"END\r\n")
    udp.sendto(frame(3, b"get key\r\n"), to); assert b"abc" in udp.recv(99)
print("done")
"""

pytestmark = pytest.mark.skipif(shutil.which("memcached") is None, reason="no memcached")


def serve(folder: Path, preload: str, client: str, *options: str) -> str:
    script = SERVE.format(preload=preload, client=client)
    done = hardtack(*options, "--", "/bin/sh", "-c", script, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("jit", ["on", "off"])
def test_every_reply_is_right(user_programs: Path, tmp_path: Path, jit: str) -> None:
    library = f"env LD_PRELOAD={user_programs}/libbatch.so"
    client = f"{user_programs}/udpload 3000 128 100 11211"
    options = ("--script-jit", jit)
    batched = serve(tmp_path, library, client, *options)
    told = json.loads(batched)
    assert told["lost"] == 0
    assert told["gets"] > 2500


def test_odd_datagrams_are_as_without_it(user_programs: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    client = "/usr/bin/python3 odd.py"
    plain = serve(tmp_path, "env", client)
    batched = serve(tmp_path, f"env LD_PRELOAD={user_programs}/libbatch.so", client)
    assert plain.endswith("done\n")
    assert batched == plain


def test_the_library_changes_nothing_where_there_are_no_scripts(user_programs: Path) -> None:
    done = subprocess.run(
        ["/bin/echo", "hello"],
        env={**os.environ, "LD_PRELOAD": f"{user_programs}/libbatch.so"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("hello\n", "")
