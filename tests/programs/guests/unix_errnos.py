"""Which errno has every socket call, with bad arguments and in every state of an AF_UNIX socket."""

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
NR = dict(
    socket=41,
    connect=42,
    accept=43,
    sendto=44,
    recvfrom=45,
    sendmsg=46,
    recvmsg=47,
    shutdown=48,
    bind=49,
    listen=50,
    getsockname=51,
    getpeername=52,
    socketpair=53,
    setsockopt=54,
    getsockopt=55,
    accept4=288,
    recvmmsg=299,
    sendmmsg=307,
)
BAD, KERNEL, DONTWAIT = 0x10, 0xFFFF800000000000, 0x40


def call(name, *a):
    r = libc.syscall(NR[name], *[ctypes.c_long(x if x < 1 << 63 else x - (1 << 64)) for x in a])
    return r if r >= 0 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno())


keep = []


def mem(data):
    b = ctypes.create_string_buffer(data, max(len(data), 1))
    keep.append(b)
    return ctypes.addressof(b)


def at(where, n):
    return ctypes.string_at(where, n)


def un(path):
    return struct.pack("<H", 1) + path


os.chdir(tempfile.mkdtemp())
TYPES = {1: "stream", 2: "dgram", 5: "seqpacket"}
for family in (-1, 0, 1, 3, 45, 46, 1000):
    for kind in (0, 1, 2, 3, 4, 5, 6, 10, 11, 15, 16, 1 | 0o4000, 1 | 0o2000000, 1 | 0x100, -1):
        for protocol in (0, 1, 2, -1):
            made = call("socket", family, kind, protocol)
            if isinstance(made, int):
                os.close(made)
                made = "fd"
            where = mem(bytes(8))
            pair = call("socketpair", family, kind, protocol, where)
            if pair == 0:
                [os.close(x) for x in struct.unpack("<ii", at(where, 8))]
            print(
                "socket",
                family,
                kind,
                protocol,
                made,
                pair,
                call("socketpair", family, kind, protocol, BAD),
            )
null, path_fd = os.open("/dev/null", os.O_RDWR), os.open("/", os.O_PATH)
size, buf, name = mem(struct.pack("<i", 16)), mem(bytes(64)), mem(un(b"x\0"))
vector = mem(struct.pack("<QQ", buf, 4))
header = mem(struct.pack("<QQQQQQQ", 0, 0, vector, 1, 0, 0, 0) + bytes(8))
far = mem(struct.pack("<qq", 1, 1 << 40))
for label, fd in (("-1", -1), ("999", 999), ("null", null), ("path", path_fd)):
    print(
        label,
        "connect",
        call("connect", fd, name, 3),
        call("connect", fd, BAD, 3),
        call("connect", fd, name, -1),
    )
    print(
        label,
        "bind",
        call("bind", fd, name, 3),
        call("bind", fd, BAD, 3),
        call("bind", fd, name, 500),
    )
    print(label, "listen", call("listen", fd, 1))
    print(
        label,
        "accept",
        call("accept", fd, 0, 0),
        call("accept4", fd, 0, 0, 1),
        call("accept4", fd, 0, 0, 0),
    )
    print(
        label,
        "names",
        call("getsockname", fd, buf, size),
        call("getpeername", fd, buf, size),
        call("getsockname", fd, BAD, BAD),
    )
    print(
        label,
        "options",
        call("getsockopt", fd, 1, 3, buf, size),
        call("setsockopt", fd, 1, 2, buf, 4),
        call("setsockopt", fd, 1, 2, buf, -4),
        call("getsockopt", fd, 1, 3, BAD, BAD),
    )
    print(
        label,
        "send",
        call("sendto", fd, buf, 4, 0, 0, 0),
        call("sendto", fd, KERNEL, 4, 0, 0, 0),
        call("sendto", fd, buf, 4, 0, BAD, 4),
        call("sendmsg", fd, header, 0),
        call("sendmsg", fd, BAD, 0),
        call("sendmsg", fd, header, 0x80000000),
        call("sendmmsg", fd, header, 1, 0),
    )
    print(
        label,
        "receive",
        call("recvfrom", fd, buf, 4, 0, 0, 0),
        call("recvfrom", fd, KERNEL, 4, 0, 0, 0),
        call("recvmsg", fd, header, 0),
        call("recvmsg", fd, BAD, 0),
        call("recvmsg", fd, header, 0x80000000),
        call("recvmmsg", fd, header, 1, 0, 0),
        call("recvmmsg", fd, header, 1, 0, BAD),
        call("recvmmsg", fd, header, 1, 0, far),
    )
    print(label, "shutdown", call("shutdown", fd, 0), call("shutdown", fd, 9))
number = 0


def fresh(kind, state):
    """A socket in a state, and those that keep it there."""
    global number
    number += 1
    s = socket.socket(1, kind)
    others = []
    if state in ("bound", "listening", "deaf"):
        s.bind("n%d" % number)
    if state in ("listening", "deaf") and kind != 2:
        s.listen(1)
    if state == "deaf":
        s.shutdown(0)
    if state in ("pair", "peer gone", "unread", "no writing", "no reading"):
        s.close()
        s, o = socket.socketpair(1, kind)
        if state == "unread":
            s.send(b"q")
        if state in ("peer gone", "unread"):
            o.close()
        else:
            others.append(o)
        if state == "no writing":
            s.shutdown(1)
        if state == "no reading":
            s.shutdown(0)
    if state == "connected":
        l = socket.socket(1, kind)
        l.bind("l%d" % number)
        if kind != 2:
            l.listen(1)
        s.connect("l%d" % number)
        others.append(l)
    s.setblocking(False)
    return s, others


targets = {k: socket.socket(1, k) for k in TYPES}
for k, s in targets.items():
    s.setblocking(False)
    s.bind("t%d" % k)
    if k != 2:
        s.listen(20)
open("plain", "w").close()
os.mkdir("dir")
os.symlink("loop", "loop")
os.symlink("t1", "link")
gone = socket.socket(1, 1)
gone.bind("gone")
gone.close()
libc.signal(13, ctypes.c_void_p(1))


def connect(path):
    return lambda s: call("connect", s, mem(un(path)), 2 + len(path))


def bind(path):
    return lambda s: call("bind", s, mem(un(path)), 2 + len(path))


def to(raw, length):
    return lambda s: call(
        "sendto", s, buf, 4, DONTWAIT, raw if isinstance(raw, int) else mem(raw), length
    )


def receive(where, n, flags=0):
    return lambda s: call("recvfrom", s, where, n, DONTWAIT | flags, 0, 0)


def option(n):
    return lambda s: (call("getsockopt", s, 1, n, buf, mem(struct.pack("<i", 4))), at(buf, 4))


def python(do):
    def run(s):
        try:
            return do(s)
        except OSError as x:
            return errno.errorcode[x.errno]

    return run


CALLS = {
    "bind new": lambda s: call("bind", s, mem(un(b"b%d\0" % number)), 9),
    "bind used": bind(b"plain\0"),
    "bind nowhere": bind(b"no/such\0"),
    "bind abstract": lambda s: call("bind", s, mem(un(b"\0abs%d" % number)), 9),
    "bind auto": bind(b""),
    "bind 1 byte": lambda s: call("bind", s, name, 1),
    "bind 0": lambda s: call("bind", s, name, 0),
    "bind long": bind(b"x" * 109),
    "bind inet": lambda s: call("bind", s, mem(struct.pack("<HH12x", 2, 0)), 16),
    "bind fault": lambda s: call("bind", s, BAD, 16),
    "listen": lambda s: call("listen", s, -1),
    "accept": lambda s: call("accept4", s, 0, 0, 0o4000),
    "connect stream": connect(b"t1\0"),
    "connect dgram": connect(b"t2\0"),
    "connect seqpacket": connect(b"t5\0"),
    "connect link": connect(b"link\0"),
    "connect plain": connect(b"plain\0"),
    "connect dir": connect(b"dir\0"),
    "connect gone": connect(b"gone\0"),
    "connect missing": connect(b"missing\0"),
    "connect loop": connect(b"loop\0"),
    "connect notdir": connect(b"plain/x\0"),
    "connect abstract": connect(b"\0none"),
    "connect nothing": connect(b""),
    "connect unspec": lambda s: call("connect", s, mem(bytes(16)), 16),
    "connect 1 byte": lambda s: call("connect", s, name, 1),
    "connect 0": lambda s: call("connect", s, name, 0),
    "connect -1": lambda s: call("connect", s, name, -1),
    "connect 129": lambda s: call("connect", s, name, 129),
    "send": lambda s: call("sendto", s, buf, 4, DONTWAIT, 0, 0),
    "send nothing": lambda s: call("sendto", s, buf, 0, DONTWAIT, 0, 0),
    "send no urgent byte": lambda s: call("sendto", s, buf, 0, DONTWAIT | 1, 0, 0),
    "send fault": lambda s: call("sendto", s, BAD, 4, DONTWAIT, 0, 0),
    "send kernel": lambda s: call("sendto", s, KERNEL, 4, DONTWAIT, 0, 0),
    "send to dgram": to(un(b"t2\0"), 5),
    "send to stream": to(un(b"t1\0"), 5),
    "send to missing": to(un(b"missing\0"), 10),
    "send to family 9": to(struct.pack("<H8x", 9), 10),
    "send to nobody": to(un(b""), 2),
    "send to -1": to(un(b""), -1),
    "send to 0": to(un(b""), 0),
    "send to fault": to(BAD, 8),
    "write": python(lambda s: os.write(s, b"abc")),
    "receive": receive(buf, 4),
    "receive twice": lambda s: (receive(buf, 4)(s), receive(buf, 4)(s)),
    "receive 0": receive(buf, 0),
    "receive fault": receive(BAD, 4),
    "receive urgent": receive(buf, 4, 1),
    "peek": receive(buf, 4, 2),
    "read": python(lambda s: len(os.read(s, 9))),
    "getpeername": lambda s: call("getpeername", s, buf, size),
    "shutdown": lambda s: [call("shutdown", s, how) for how in (-1, 3, 0, 1, 2)],
    "error": option(4),
    "accepts": option(30),
    "inq": python(lambda s: fcntl.ioctl(s, 0x541B, bytes(4))),
    "outq": python(lambda s: fcntl.ioctl(s, 0x5411, bytes(4))),
    "mark": python(lambda s: fcntl.ioctl(s, 0x8905, bytes(4))),
    "other ioctl": python(lambda s: fcntl.ioctl(s, 0x5401, bytes(64))),
}


def polled(s):
    p = select.poll()
    p.register(s, 0x3FFF)
    return [hex(bits) for _, bits in p.poll(0)]


for kind in TYPES:
    for state in (
        "new",
        "bound",
        "listening",
        "deaf",
        "pair",
        "connected",
        "peer gone",
        "unread",
        "no writing",
        "no reading",
    ):
        for what, do in CALLS.items():
            s, others = fresh(kind, state)
            before = polled(s)
            result = do(s.fileno())
            if what == "accept" and isinstance(result, int):
                os.close(result)
                result = "fd"
            print(TYPES[kind], state, what, result, before, polled(s))
            s.close()
            [o.close() for o in others]
            for k, target in targets.items():
                with contextlib.suppress(OSError):
                    while True:
                        target.recv(99) if k == 2 else target.accept()[0].close()
