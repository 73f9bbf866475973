"""Sends or receives bytes over TCP and says how it went; a program of the standard library alone.

    python3 transfer.py serve|connect ADDRESS PORT send|receive BYTES [CONGESTION]

The receiver answers with a byte when it has read everything, and then with its digest: the time
taken ends with that byte, and no hashing is in it. Prints one line of JSON. Status 1: the digests
or the sizes differ.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import sys
import time

PIECE = 1 << 16


def _connection(role: str, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if role == "connect":
        return _connect(family, address, port)
    with socket.create_server((address, port), family=family) as listener:
        listener.settimeout(600)
        made, _ = listener.accept()
    made.settimeout(600)
    return made


def _connect(family: int, address: str, port: int) -> socket.socket:
    for _ in range(100):
        made = socket.socket(family)
        made.settimeout(600)
        try:
            made.connect((address, port))
        except ConnectionRefusedError:  # the other end has not come so far
            made.close()
            time.sleep(0.2)
            continue
        return made
    raise ConnectionRefusedError(f"{address} port {port}")


def _payload(size: int) -> memoryview:
    pieces = [random.Random(number).randbytes(PIECE) for number in range(16)]
    count = -(-size // PIECE)
    return memoryview(b"".join([pieces[number * 7 % 16] for number in range(count)]))[:size]


def _send(connection: socket.socket, payload: memoryview) -> tuple[float, str]:
    """When the peer has read everything, and its digest."""
    connection.sendall(payload)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
    ended = time.monotonic()
    theirs = b""
    while piece := connection.recv(100):
        theirs += piece
    return ended, theirs.decode()


def _receive(connection: socket.socket, memory: memoryview) -> tuple[float, int]:
    """When the last byte was read, and how many there were."""
    size = 0
    while size < len(memory) and (count := connection.recv_into(memory[size:])):
        size += count
    while extra := connection.recv(PIECE):
        size += len(extra)
    ended = time.monotonic()
    connection.sendall(b"+")
    return ended, size


def main(role: str, address: str, port: str, what: str, count: str, congestion: str = "") -> int:
    """See the module."""
    size = int(count)
    memory = _payload(size) if what == "send" else memoryview(bytearray(size))
    with _connection(role, address, int(port)) as connection:
        began = time.monotonic()
        if congestion:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        if what == "send":
            ended, theirs = _send(connection, memory)
            digest = hashlib.sha256(memory).hexdigest()
            same = digest == theirs
        else:
            ended, size = _receive(connection, memory)
            digest = hashlib.sha256(memory).hexdigest()
            connection.sendall(digest.encode())
            same = size == len(memory)
    told = {"bytes": size, "sha256": digest, "same": same, "seconds": ended - began}
    print(json.dumps(told), flush=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
