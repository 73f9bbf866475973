"""A random walk through calls on AF_UNIX sockets: `unix_walk.py FIRST_SEED SEEDS STEPS [oob]`.

Nothing waits, so that every line (what was done, what came of it, what poll(2) says of every
socket) is the same in every run on Linux.
"""

import array
import errno
import fcntl
import os
import random
import select
import signal
import socket
import stat
import struct
import sys
import tempfile

signal.signal(signal.SIGPIPE, signal.SIG_IGN)
os.chdir(tempfile.mkdtemp())
seed0, seeds, steps = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
OOB = "oob" in sys.argv
null = os.open("/dev/null", os.O_RDWR)
NAMES = ["p0", "p1", "p2", "\0a0", "\0a1"]


def adopt(fd):
    s = socket.socket(fileno=fd)
    s.setblocking(False)
    return s


def cmsgs(anc, bag):
    out = []
    for level, kind, data in anc:
        if (level, kind) == (1, 1):
            fds = array.array("i")
            fds.frombytes(data[: len(data) - len(data) % 4])
            out.append(("rights", len(fds)))
            for fd in fds:
                if len(bag) < 14 and stat.S_ISSOCK(os.fstat(fd).st_mode):
                    bag.append(adopt(fd))
                else:
                    os.close(fd)
        elif (level, kind) == (1, 2):
            pid, uid, gid = (
                struct.unpack("<iII", data[:12])
                if len(data) >= 12
                else (
                    data.hex()
                    if data[:4] != struct.pack("<i", os.getpid())
                    else "me" + data[4:].hex(),
                    0,
                    0,
                )
            )
            out.append(("cred", "me" if pid == os.getpid() else pid, uid, gid))
        else:
            out.append((level, kind, len(data)))
    return out


def run(seed):
    r = random.Random(seed)
    bag = []
    log = []
    for n in ("p0", "p1", "p2"):
        if os.path.exists(n):
            os.unlink(n)

    def pick():
        return r.choice(bag) if bag else None

    kinds = r.choice([(1,), (2,), (5,), (1, 2, 5), (1, 1, 1, 2)])
    for step in range(steps):
        op = r.choice(
            [
                "new",
                "pair",
                "bind",
                "listen",
                "connect",
                "connect",
                "accept",
                "accept",
                "send",
                "send",
                "send",
                "send",
                "recv",
                "recv",
                "recv",
                "recv",
                "sendmsg",
                "sendmsg",
                "recvmsg",
                "recvmsg",
                "shutdown",
                "close",
                "opt",
                "unlink",
                "names",
                "sendto",
                "inq",
                "unspec",
            ]
            + (["oob", "oob", "mark", "recvoob", "inline"] if OOB else [])
        )
        s = pick()
        what = ()
        idx = bag.index(s) if s else -1
        try:
            if op == "new" or (s is None and op != "pair"):
                if len(bag) < 10:
                    k = r.choice(kinds)
                    s = socket.socket(1, k)
                    s.setblocking(False)
                    bag.append(s)
                    what = k
                op = "new"
            elif op == "pair":
                if len(bag) < 9:
                    k = r.choice(kinds)
                    a, b = socket.socketpair(1, k)
                    a.setblocking(False)
                    b.setblocking(False)
                    bag += [a, b]
                    what = k
            elif op == "bind":
                n = r.choice(NAMES)
                what = (n, s.bind(n))
            elif op == "listen":
                what = s.listen(r.choice([0, 1, 5]))
            elif op == "connect":
                n = r.choice(NAMES)
                what = n
                what = (n, s.connect(n))
            elif op == "unspec":
                import ctypes

                what = (
                    ctypes.CDLL(None, use_errno=True).connect(s.fileno(), bytes(16), 16),
                    errno.errorcode.get(ctypes.get_errno()),
                )
            elif op == "accept":
                c, a = s.accept()
                c.setblocking(False)
                what = a
                if len(bag) < 12:
                    bag.append(c)
                else:
                    c.close()
            elif op == "send":
                n = r.choice([0, 1, 2, 3, 10, 100, 200, 1000, 5000, 40000, 100000, 250000])
                what = n
                what = (n, s.send(bytes([step % 256]) * n, r.choice([0, 0, 0x4000, 0x80])))
            elif op == "sendto":
                n = r.choice(NAMES)
                what = n
                what = (n, s.sendto(b"to", n))
            elif op == "recv":
                n = r.choice([0, 1, 2, 3, 5, 50, 300, 5000, 100000, 1 << 20])
                f = r.choice([0, 0, 0, 2, 0x20, 0x100, 0x22, 0x102])
                what = (n, f)
                b = bytearray(max(n, 1))
                if r.random() < 0.5 or n == 0:
                    got = s.recv_into(b, n, f) if n else len(s.recv(0, f & ~0x20))
                    a = None
                else:
                    got, a = s.recvfrom_into(b, n, f)
                what = (n, f, got, bytes(b[:3]), sum(b[:got]), a)
            elif op == "sendmsg":
                anc = []
                for _ in range(r.choice([1, 1, 1, 2])):
                    k = r.random()
                    if k < 0.6:
                        anc.append(
                            (
                                1,
                                1,
                                array.array(
                                    "i", [null for _ in range(r.choice([0, 1, 1, 2, 3]))]
                                ).tobytes(),
                            )
                        )
                    elif k < 0.8:
                        anc.append((1, 2, struct.pack("<iII", os.getpid(), r.choice([0, 0, 5]), 0)))
                    elif k < 0.9:
                        anc.append((2, 1, b"abcd"))
                    else:
                        anc.append((1, 9, b"abcd"))
                what = [x[:2] + (len(x[2]),) for x in anc]
                what = (
                    what,
                    s.sendmsg(
                        [b"m" * r.choice([0, 1, 7, 300]), b"n" * r.choice([0, 5])],
                        anc,
                        r.choice([0, 0x4000]),
                    ),
                )
            elif op == "recvmsg":
                n, room, f = (
                    r.choice([1, 1, 4, 9, 1000] if OOB else [0, 1, 4, 9, 1000]),
                    r.choice([0, 8, 16, 20, 24, 28, 32, 40, 64, 100]),
                    r.choice([0, 0, 2, 0x40000000, 0x20, 0x100]),
                )
                what = (n, room, f)
                if f == 0x20:
                    n = 1000
                d, anc, fl, a = s.recvmsg(n, room, f)
                what = (n, room, f, len(d), d[:2], cmsgs(anc, bag), fl, a)
            elif op == "shutdown":
                h = r.choice([0, 1, 2])
                what = (h, s.shutdown(h))
            elif op == "close":
                if r.random() < 0.6:
                    s.close()
                    bag.remove(s)
            elif op == "opt":
                o, v = r.choice(
                    [
                        (7, 1),
                        (7, 5000),
                        (7, 50000),
                        (16, 0),
                        (16, 1),
                        (16, 1),
                        (18, 1),
                        (18, 4),
                        (83, 0),
                        (83, 1),
                    ]
                )
                what = (o, v)
                s.setsockopt(1, o, v)
                what = (o, v, s.getsockopt(1, o))
            elif op == "unlink":
                n = r.choice(NAMES[:3])
                what = (n, os.unlink(n))
            elif op == "names":
                what = s.getsockname()
                what = (what, s.getpeername())
            elif op == "inq" and not OOB:
                what = (fcntl.ioctl(s, 0x5411, b"    "), fcntl.ioctl(s, 0x541B, b"    "))
            elif op == "oob":
                n = r.choice([1, 1, 2, 5, 300])
                what = n
                what = (n, s.send(bytes(range(n % 256)) if n < 256 else b"o" * n, 1))
            elif op == "recvoob":
                f = r.choice([1, 1, 3])
                what = f
                what = (f, s.recv(r.choice([1, 5]), f))
            elif op == "mark":
                what = fcntl.ioctl(s, 0x8905, b"    ")
            elif op == "inline":
                v = r.choice([0, 1])
                what = (v, s.setsockopt(1, 10, v))
            res = "ok"
        except (FileNotFoundError, ValueError) as e:
            res = type(e).__name__
        except OSError as e:
            res = errno.errorcode.get(e.errno, e.errno)
        p = select.poll()
        for x in bag:
            p.register(x, 0x3FFF)
        ev = dict(p.poll(0))
        # autobound names are random
        what = str(what)
        log.append(
            f"{seed}.{step} {op} {idx} {what} {res} | {' '.join('%x' % ev.get(x.fileno(), 0) for x in bag)} | {[x.getsockopt(1, 30) for x in bag].count(1)}"
        )
    for x in bag:
        x.close()
    return log


import re

for seed in range(seed0, seed0 + seeds):
    for line in run(seed):
        print(re.sub(r"b'\\x00[0-9a-f]{5}'", "AUTO", line))
