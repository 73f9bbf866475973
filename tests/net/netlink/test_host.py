"""Are the answers those of Linux, byte for byte? The same changes in a network namespace there.

Not compared: interface numbers, times, attributes of IPv6's caches, and how a veth differs from a
card.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys

import pytest

from bus.errors import PosixError
from services.net.ip.routes import Route
from services.net.netlink import abi
from services.net.netlink.message import attribute, encode, split
from tests.net.netlink.asker import MAC, Asker
from tests.net.proto.scapyoracle import ip

SETUP = f"""
ip link set lo up
ip link add eth0 address {MAC.hex(":")} type veth peer name peer0
ip link set eth0 up
sysctl -q -w net.ipv6.conf.peer0.disable_ipv6=1
ip link set peer0 up
"""
SCRIPT = """
import json, socket, subprocess, sys, time
subprocess.run(sys.argv[1], shell=True, check=True)
time.sleep(2.2)  # duplicate address detection
index = socket.if_nametoindex("eth0")
out = [index]
for text in json.loads(sys.argv[2]):
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    link.bind((0, 0))
    link.send(bytes.fromhex(text.replace("INDX", index.to_bytes(4, "little").hex())))
    link.settimeout(0.5)
    parts = []
    try:
        while True:
            part = link.recv(65536)
            parts.append(part.hex())
            if part[4:6] != b"\\x18\\0" and part[-20:-12] == b"\\x14\\0\\0\\0\\x03\\0\\x02\\0":
                break
            if not int.from_bytes(part[6:8], "little") & 2:
                break
            if int.from_bytes(part[-16:-14], "little") == 3:
                break
    except TimeoutError:
        pass
    out.append(parts)
    if text[8:12] == "1400" and text[32:34] == "0a":
        time.sleep(0.7)  # an IPv6 address's own route is made later
print(json.dumps(out))
"""
CACHES = (abi.IFA_CACHEINFO, abi.RTA_CACHEINFO)


def possible() -> bool:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(
            ["unshare", "-n", "sh", "-c", SETUP], capture_output=True, check=False
        ).returncode
        == 0
    )


def words(kind: int, body: bytes, flags: int = 0) -> bytes:
    return encode(kind, abi.F_REQUEST | flags, 1, 0, body)


def route_to(text: str) -> bytes:
    dst = ip(text)
    head = struct.pack("<BBBBBBBBI", 2 if len(dst) == 4 else 10, 8 * len(dst), 0, 0, 0, 0, 0, 0, 0)
    return words(abi.RTM_GETROUTE, head + attribute(abi.RTA_DST, dst))


def address(text: str, bits: int, flags: int, kind: int = abi.RTM_NEWADDR) -> bytes:
    value = ip(text)
    no_detection = 0 if len(value) == 4 else 2  # IFA_F_NODAD
    head = struct.pack("<BBBB", 2 if len(value) == 4 else 10, bits, no_detection, 0) + b"INDX"
    return words(kind, head + attribute(abi.IFA_LOCAL, value), flags)


def route(network: str, bits: int, gateway: str, metric: int, flags: int, kind: int) -> bytes:
    net = ip(network)
    scope = 255 if kind == abi.RTM_DELROUTE else 0
    made = 3, scope, 0 if kind == abi.RTM_DELROUTE else 1
    head = struct.pack("<BBBBBBBBI", 2 if len(net) == 4 else 10, bits, 0, 0, 254, *made, 0)
    parts = [head, attribute(abi.RTA_DST, net), attribute(abi.RTA_GATEWAY, ip(gateway))]
    parts.append(attribute(abi.RTA_OIF, b"INDX"))
    if metric:
        parts.append(attribute(abi.RTA_PRIORITY, metric.to_bytes(4, "little")))
    return words(kind, b"".join(parts), flags)


ADD = abi.F_CREATE | abi.F_EXCL | abi.F_ACK
NEW, DEL = abi.RTM_NEWROUTE, abi.RTM_DELROUTE
REQUESTS = {
    "addr add": address("10.0.2.15", 24, ADD),
    "addr add again": address("10.0.2.15", 24, ADD),
    "second": address("10.0.2.16", 24, ADD),
    "another net": address("192.168.7.1", 28, ADD),
    "a host": address("192.168.9.1", 32, ADD),
    "wide": address("fd00::5", 64, ADD),
    "not ours": address("10.7.7.7", 24, abi.F_ACK, abi.RTM_DELADDR),
    "default": route("0.0.0.0", 0, "10.0.2.2", 0, ADD, NEW),
    "default again": route("0.0.0.0", 0, "10.0.2.2", 0, ADD, NEW),
    "longer": route("10.0.0.0", 8, "10.0.2.3", 7, ADD, NEW),
    "longest": route("10.0.2.128", 25, "10.0.2.3", 0, ADD, NEW),
    "nowhere": route("10.9.0.0", 16, "9.9.9.9", 0, ADD, NEW),
    "bits": route("10.9.0.1", 16, "10.0.2.2", 0, ADD, NEW),
    "change": route("10.99.0.0", 16, "10.0.2.2", 0, abi.F_REPLACE, NEW),
    "no such": route("10.99.0.0", 16, "10.0.2.2", 0, abi.F_ACK, DEL),
    "default6": route("::", 0, "fe80::2", 0, ADD, NEW),
    "net6": route("fd77::", 48, "fd00::9", 0, ADD, NEW),
    "addresses": words(abi.RTM_GETADDR, bytes(8), abi.F_DUMP),
    "routes4": words(abi.RTM_GETROUTE, b"\2" + bytes(11), abi.F_DUMP),
    "routes6": words(abi.RTM_GETROUTE, b"\x0a" + bytes(11), abi.F_DUMP),
    "rules": words(abi.RTM_GETRULE, b"\2" + bytes(11), abi.F_DUMP),
    "rules6": words(abi.RTM_GETRULE, b"\x0a" + bytes(11), abi.F_DUMP),
    "get net": route_to("10.0.2.77"),
    "get gateway": route_to("1.1.1.1"),
    "get longest": route_to("10.0.2.200"),
    "get metric": route_to("10.77.0.1"),
    "get own": route_to("10.0.2.15"),
    "get lo": route_to("127.0.0.1"),
    "get broadcast": route_to("10.0.2.255"),
    "get group": route_to("224.0.0.9"),
    "get own group": route_to("224.0.0.1"),
    "get6 net": route_to("fd00::77"),
    "get6 far": route_to("2001:db8::1"),
    "get6 own": route_to("fd00::5"),
    "get6 lo": route_to("::1"),
    "no mtu": words(abi.RTM_NEWLINK, struct.pack("<BxHiII", 0, 0, 9999, 0, 0)),
    "nobody": words(abi.RTM_NEWLINK, struct.pack("<BxHiII", 0, 0, 0, 0, 0)),
    "unknown": words(122, bytes(16)),
    "beyond": words(200, bytes(16)),
    "short": words(abi.RTM_GETADDR, b"", abi.F_ACK),
}  # fmt: skip


def shown(parts: list[bytes], index: int) -> list[tuple[object, ...]]:
    """Messages, comparable: type, flags, fixed part, attributes; without indices and times."""
    found = []
    for message in (message for part in parts for message in split(part)):
        body, size = message.body, {20: 8, 24: 12, 32: 12}.get(message.type, len(message.body))
        if message.type == abi.NLMSG_ERROR:
            body = body[:8] + body[8:].replace(index.to_bytes(4, "little"), b"INDX")
            found.append((message.type, message.flags, body[:4]))
            continue
        fixed = body[:size]
        if message.type == abi.RTM_NEWADDR:
            link = int.from_bytes(fixed[4:8], "little")
            fixed = fixed[:4] + (b"lo" if link == 1 else b"eth")
        rest, pairs, at = body[size:], list[tuple[int, bytes]](), 0
        while at + 4 <= len(rest):
            length, kind = struct.unpack_from("<HH", rest, at)
            value = rest[at + 4 : at + length]
            if kind == abi.RTA_OIF and message.type == NEW:
                value = b"lo" if value == b"\1\0\0\0" else b"eth"
            if not (kind in CACHES and len(value) >= 16):
                pairs.append((kind, value))
            at += length + 3 & ~3
        found.append((message.type, message.flags, fixed, *pairs))
    return found


@pytest.fixture(scope="module")
def linux() -> dict[str, list[tuple[object, ...]]]:
    if not possible():
        pytest.skip("no network namespaces here")
    texts = [data.hex().replace(b"INDX".hex(), "INDX") for data in REQUESTS.values()]
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", SCRIPT, SETUP, json.dumps(texts)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    index, *answers = json.loads(done.stdout)
    return {
        name: shown([bytes.fromhex(part) for part in parts], index)
        for name, parts in zip(REQUESTS, answers, strict=True)
    }


@pytest.fixture(scope="module")
def ours() -> dict[str, list[tuple[object, ...]]]:
    asker = Asker()
    asker.network.stack.remove_address(2, ip("10.0.2.15"))
    found = {}
    for name, data in REQUESTS.items():
        socket = asker.open()
        asker.send(data.replace(b"INDX", b"\2\0\0\0"), socket)
        parts = []
        try:
            while True:
                parts.append(asker.receive(socket))
        except PosixError:
            found[name] = shown(parts, 2)
    return found


@pytest.mark.parametrize("name", REQUESTS)
def test_the_answer_is_linux_s(
    name: str,
    linux: dict[str, list[tuple[object, ...]]],
    ours: dict[str, list[tuple[object, ...]]],
) -> None:
    assert ours[name] == linux[name]


def test_routes_of_the_stack_are_what_is_compared() -> None:
    """The other tests would not notice if nothing were there at all."""
    asker = Asker()
    asker.network.stack.add_route(Route(ip("9.0.0.0"), 8, 2, ip("10.0.2.2")))
    asker.send(words(abi.RTM_GETROUTE, b"\2" + bytes(11), abi.F_DUMP))
    rows = shown([asker.receive()], 2)
    assert (abi.RTA_DST, ip("9.0.0.0")) in rows[0]
