"""Do programs find hosts by name, through the gateway's DNS and a name server of our own behind it?

The host's side is a network and mount namespace: its lo, its resolv.conf, a name server on port 53.
"""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = {b"web.example": "192.0.2.80", b"db.corp.example": "192.0.2.5"}
INSIDE = """
getent hosts web.example
getent hosts db
getent hosts no.such.example || echo none
getent ahostsv4 web.example | head -n 1
getent hosts localhost guest1
"""
OUTSIDE = f"""
set -e
ip link set lo up
printf 'search corp.example\\nnameserver 127.0.0.1\\n' > "$1"/resolv.conf
mount --bind "$1"/resolv.conf /etc/resolv.conf
{sys.executable} -m tests.programs.test_names "$1" &
while ! test -e "$1"/ready; do sleep 0.05; done
timeout 60 {sys.executable} -m boot run --hostname guest1 -- /bin/sh -c "$2"
kill $!
"""


def answer(query: bytes) -> bytes:
    """An A record for a name of `NAMES`; no such name (3) otherwise (RFC 1035, 4.1)."""
    at, labels = 12, list[bytes]()
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]])
        at += 1 + query[at]
    question, (kind,) = query[12 : at + 5], struct.unpack(">H", query[at + 1 : at + 3])
    address = NAMES.get(b".".join(labels).lower())
    found = address is not None and kind == 1
    flags = 0x8180 if address is not None else 0x8183
    head = query[:2] + struct.pack(">5H", flags, 1, int(found), 0, 0)
    if not found:
        return head + question
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address or "")
    return head + question + record


def serve(directory: str) -> None:
    """Answer on 127.0.0.1, port 53, until killed."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    Path(directory, "ready").touch()
    while True:
        query, peer = server.recvfrom(512)
        server.sendto(answer(query), peer)


def possible() -> bool:
    tools = all(shutil.which(tool) for tool in ("unshare", "ip", "mount", "getent"))
    return (
        tools
        and not subprocess.run(
            ["unshare", "-mn", "ip", "link", "set", "lo", "up"], capture_output=True, check=False
        ).returncode
    )


def test_names_are_found(tmp_path: Path) -> None:
    if not possible():
        pytest.skip("no namespaces here")
    done = subprocess.run(
        ["unshare", "-mn", "sh", "-c", OUTSIDE, "sh", str(tmp_path), INSIDE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    words = [line.split() for line in done.stdout.splitlines()]
    assert words == [
        ["192.0.2.80", "web.example"],
        ["192.0.2.5", "db.corp.example"],
        ["none"],
        ["192.0.2.80", "STREAM", "web.example"],
        ["127.0.0.1", "localhost"],
        ["10.0.2.15", "guest1"],
    ], done.stderr


def test_the_name_server_itself() -> None:
    """An answer for a name that there is, and one for a name that there is not."""
    query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3web\7example\0\0\1\0\1"
    assert answer(query).endswith(socket.inet_aton("192.0.2.80"))
    assert answer(query.replace(b"web", b"wob"))[3] & 15 == 3


if __name__ == "__main__":
    serve(sys.argv[1])
