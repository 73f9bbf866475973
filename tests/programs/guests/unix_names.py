"""Names, credentials, descriptors and message arrays of AF_UNIX sockets, and what they print."""

import functools

print = functools.partial(print, flush=True)
import array
import ctypes
import errno
import fcntl
import os
import socket
import stat
import struct
import tempfile
import time

os.chdir(tempfile.mkdtemp())
os.chmod(".", 0o755)
os.umask(0o027)
U = socket.AF_UNIX


def e(f, *a):
    try:
        return f(*a)
    except OSError as x:
        return errno.errorcode.get(x.errno, x.errno)


def cred(s):
    return struct.unpack("<iII", s.getsockopt(1, 17, 12))


me = os.getpid()


def who(c):
    return (
        "me" if c[0] == me else "parent" if c[0] == os.getppid() else c[0] if c[0] < 1 else "other",
    ) + c[1:]


# names and lengths
libc = ctypes.CDLL(None, use_errno=True)


def rawname(s, peer=False, room=200):
    b = ctypes.create_string_buffer(b"\xee" * 200, 200)
    n = ctypes.c_int(room)
    r = (libc.getpeername if peer else libc.getsockname)(s.fileno(), b, ctypes.byref(n))
    return r, n.value, b.raw[: max(0, min(n.value, room, 40))]


for name in (
    "path",
    "./path2",
    b"x" * 107,
    b"y" * 108,
    "\0abstract",
    b"\0" + b"z" * 107,
    b"\0",
    "\0a\0b",
):
    s = socket.socket(U)
    print(
        e(s.bind, name), rawname(s), rawname(s, room=5), rawname(s, room=0), rawname(s, room=-1)[:2]
    )
s = socket.socket(U)
print(rawname(s))
a, b = socket.socketpair()
print(rawname(a), rawname(a, True))


# raw binds: no NUL, embedded NUL
def rawbind(path, n):
    s = socket.socket(U)
    d = struct.pack("<H", 1) + path
    r = libc.bind(s.fileno(), d, n)
    return r, ctypes.get_errno() if r else 0, rawname(s), s


print(
    rawbind(b"nonul", 7)[:3],
    rawbind(b"cut\0off", 9)[:3],
    rawbind(b"longer-than-that", 8)[:3],
    sorted(os.listdir(".")),
)
# the node
st = os.stat("path")
print(oct(st.st_mode), st.st_size, st.st_nlink, stat.S_ISSOCK(st.st_mode))
print(e(os.open, "path", os.O_RDWR), e(os.open, "path", os.O_PATH) > 0)
# by hard link, rename, symlink, another directory, /proc/self/fd, after unlink, after chmod
l = socket.socket(U)
l.bind("srv")
l.listen(9)
os.link("srv", "hard")
os.symlink("srv", "soft")
os.rename("srv", "moved")


def try_(n):
    s = socket.socket(U)
    return e(s.connect, n), rawname(s, True)[2]


print(try_("srv"), try_("hard"), try_("soft"), try_("moved"))
fd = os.open("moved", os.O_PATH)
print(try_("/proc/self/fd/%d" % fd))
d = os.open(".", os.O_RDONLY)
print(
    e(socket.socket(U).connect, "/proc/self/fd/%d/moved" % d),
    e(socket.socket(U).bind, "/proc/self/fd/%d/made" % d),
    os.path.exists("made"),
)
os.unlink("moved")
os.unlink("hard")
print(try_("moved"), try_("/proc/self/fd/%d" % fd)[0])
l2 = socket.socket(U)
l2.bind("moved")
print(try_("moved"), try_("/proc/self/fd/%d" % fd)[0])
print(
    e(socket.socket(U).bind, "/proc/x"),
    e(socket.socket(U).bind, "/proc/self"),
    e(socket.socket(U).connect, "/proc/self/status"),
    e(socket.socket(U).bind, "no/dir"),
    e(socket.socket(U).bind, "path/x"),
)
# chdir between
os.mkdir("sub")
os.chdir("sub")
print(e(socket.socket(U).connect, "../path"), e(socket.socket(U).bind, "rel"))
os.chdir("..")
# a dead listener's file: ECONNREFUSED, and bind again needs unlink
g = socket.socket(U)
g.bind("dead")
g.listen()
g.close()
print(try_("dead")[0], e(socket.socket(U).bind, "dead"))
# autobind
s = socket.socket(U)
r = libc.bind(s.fileno(), struct.pack("<H", 1), 2)
n = rawname(s)
print(r, n[0], n[1], n[2][:3], all(c in b"0123456789abcdef" for c in n[2][3:]))
print(libc.bind(s.fileno(), struct.pack("<H", 1), 2), rawname(s) == n, e(s.bind, "\0other"))
s = socket.socket(U, 2)
s.setsockopt(1, 16, 1)
r = socket.socket(U, 2)
r.bind("r")
s.sendto(b"x", "r")
print(rawname(s)[1])
d, anc, f, a = r.recvmsg(9, 99)
print(d, anc, f, len(a), a == s.getsockname().__class__(s.getsockname()))
# credentials
a, b = socket.socketpair()
print(who(cred(a)), who(cred(socket.socket(U))))
l = socket.socket(U)
l.bind("cr")
l.listen()
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(w)
    c = socket.socket(U)
    c.connect("cr")
    print("client", who(cred(c)), flush=True)
    os.setgroups([5, 6])
    os.setegid(7)
    os.seteuid(1000)
    c2 = socket.socket(U)
    print(e(c2.connect, "cr"), flush=True)
    os.seteuid(0)
    os.chmod("cr", 0o777)
    os.seteuid(1000)
    print("as user", e(c2.connect, "cr"), cred(c2)[1:], flush=True)
    c2.setsockopt(1, 16, 1)
    time.sleep(0.5)
    print(
        e(c2.sendmsg, [b"lie"], [(1, 2, struct.pack("<iII", os.getpid(), 3, 3))]),
        e(c2.sendmsg, [b"pid"], [(1, 2, struct.pack("<iII", os.getppid(), 0, 0))]),
        e(c2.sendmsg, [b"mine"], [(1, 2, struct.pack("<iII", os.getpid(), 1000, 7))]),
        flush=True,
    )
    os.read(r, 1)
    os._exit(0)
s1, _ = l.accept()
s2, _ = l.accept()
os.close(r)
time.sleep(0.3)
print("server", who(cred(s1)), who(cred(s2)))
s2.setsockopt(1, 16, 1)
time.sleep(1)
d, anc, f, _ = s2.recvmsg(9, 99)
print(
    d,
    [(x, y, struct.unpack("<iII", z)[1:], struct.unpack("<iII", z)[0] == pid) for x, y, z in anc],
    f,
)
buf = ctypes.create_string_buffer(40)
n = ctypes.c_int(40)
print(
    libc.getsockopt(s2.fileno(), 1, 59, buf, ctypes.byref(n)),
    n.value,
    struct.unpack("<II", buf.raw[:8]),
)
n = ctypes.c_int(4)
print(
    libc.getsockopt(s2.fileno(), 1, 59, buf, ctypes.byref(n)),
    errno.errorcode[ctypes.get_errno()],
    n.value,
)
os.close(w)
os.waitpid(pid, 0)
print("gone", who(cred(s1)))
print(
    e(a.sendmsg, [b"x"], [(1, 2, struct.pack("<iII", 4000000, 0, 0))]),
    e(a.sendmsg, [b"x"], [(1, 2, b"short")]),
)
# inherited PASSCRED at accept
l.setsockopt(1, 16, 1)
c = socket.socket(U)
c.connect("cr")
c.send(b"hi")
s, _ = l.accept()
print(s.getsockopt(1, 16), [len(x[2]) for x in s.recvmsg(9, 99)[1]])
# descriptors: pass a pipe, a file, a socket, itself; order and close
a, b = socket.socketpair()
r, w = os.pipe()
f = os.open("f", os.O_RDWR | os.O_CREAT)
socket.send_fds(a, [b"m"], [w, f, a.fileno(), b.fileno()])
os.close(w)
os.close(f)
m, fds, fl, _ = socket.recv_fds(b, 9, 9)
print(
    m,
    len(fds),
    fl,
    [stat.S_IFMT(os.fstat(x).st_mode) for x in fds],
    [fcntl.fcntl(x, 1) for x in fds],
)
os.write(fds[0], b"through")
os.write(fds[1], b"file")
os.write(fds[2], b"loop")
print(os.read(r, 9), os.pread(fds[1], 9, 0), b.recv(9))
[os.close(x) for x in fds]
print(os.read(r, 9))
# too many
a, b = socket.socketpair()
nul = os.open("/dev/null", 0)
print(
    e(a.sendmsg, [b"x"], [(1, 1, array.array("i", [nul] * 254))]),
    e(a.sendmsg, [b"x"], [(1, 1, array.array("i", [nul] * 253))]),
)
m, anc, fl, _ = b.recvmsg(9, socket.CMSG_SPACE(4 * 253))
print(m, len(anc[0][2]), fl)
[os.close(x) for x in array.array("i", anc[0][2])]
print(e(a.sendmsg, [b"x"], [(1, 1, array.array("i", [nul, 999]))]), e(b.recv, 1, 0x40))
# EMFILE at the receiver
import resource

soft, hard = resource.getrlimit(7)
socket.send_fds(a, [b"x"], [nul] * 3)
have = len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(7, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
full = []
try:
    while True:
        full.append(os.dup(nul))
except OSError:
    pass
os.close(full.pop())
m, anc, fl, _ = b.recvmsg(9, 99)
print(m, [len(x[2]) for x in anc], fl)
resource.setrlimit(7, (soft, hard))
[os.close(x) for x in full]
[os.close(x) for x in array.array("i", anc[0][2])]
# EMFILE of socket, socketpair, accept
resource.setrlimit(7, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
full = []
try:
    while True:
        full.append(os.dup(nul))
except OSError:
    pass
print(e(socket.socket, U), e(socket.socketpair))
ctl = libc.accept(l.fileno(), 0, 0), errno.errorcode[ctypes.get_errno()]
print(ctl, libc.accept(nul, 0, 0), errno.errorcode[ctypes.get_errno()])
resource.setrlimit(7, (soft, hard))
[os.close(x) for x in full]
# peek shows copies
socket.send_fds(a, [b"yz"], [nul])
print([len(b.recvmsg(1, 99, 2)[1]) for _ in range(2)], [len(b.recvmsg(1, 99)[1]) for _ in range(2)])
# a stream does not read past descriptors
a.send(b"11")
socket.send_fds(a, [b"22"], [nul])
a.send(b"33")
print(b.recv(99), b.recv(99))
a.send(b"11")
socket.send_fds(a, [b"22"], [nul])
a.send(b"33")
b.settimeout(1)
print(b.recvmsg(6, 99, 0x100)[0], b.recv(9))
b.settimeout(None)


# recvmmsg, sendmmsg
def msgs(n, size):
    bufs = [ctypes.create_string_buffer(size) for _ in range(n)]
    iov = ctypes.create_string_buffer(
        b"".join(struct.pack("<QQ", ctypes.addressof(x), size) for x in bufs)
    )
    base = ctypes.addressof(iov)
    hdr = ctypes.create_string_buffer(
        b"".join(struct.pack("<QQQQQQQQ", 0, 0, base + 16 * i, 1, 0, 0, 0, 0) for i in range(n))
    )
    return bufs, iov, hdr


x, y = socket.socketpair(U, 2)
B, I, H = msgs(4, 8)
for i, q in enumerate(B):
    q.value = b"m%d" % i
print(
    libc.sendmmsg(x.fileno(), H, 4, 0),
    [struct.unpack_from("<I", H.raw, 64 * i + 56)[0] for i in range(4)],
)
B2, I2, H2 = msgs(6, 5)
print(libc.recvmmsg(y.fileno(), H2, 3, 0, None), [q.raw for q in B2[:3]])
print(
    libc.recvmmsg(y.fileno(), H2, 6, 0x10000, None),
    libc.recvmmsg(y.fileno(), H2, 6, 0x40, None),
    errno.errorcode[ctypes.get_errno()],
)
ts = ctypes.create_string_buffer(struct.pack("<qq", 0, 200000000))
import threading

threading.Timer(0.3, lambda: x.send(b"late")).start()
t = time.monotonic()
print(libc.recvmmsg(y.fileno(), H2, 6, 0, ts), struct.unpack("<qq", ts.raw[:16]))
ts = ctypes.create_string_buffer(struct.pack("<qq", 5, 0))
x.send(b"1")
x.send(b"2")
print(libc.recvmmsg(y.fileno(), H2, 2, 0, ts), struct.unpack("<q", ts.raw[:8]))
# stamps
for o in (29, 35, 63, 64):
    y.setsockopt(1, o, 1)
    x.send(b"t")
    d, anc, fl, _ = y.recvmsg(9, 99)
    print(
        [(l_, k_, len(v)) for l_, k_, v in anc],
        abs(struct.unpack("<qq", anc[0][2])[0] - time.time()) < 5,
        [y.getsockopt(1, q) for q in (29, 35, 63, 64)],
    )
# MSG_TRUNC in streams, big datagrams
x, y = socket.socketpair(U, 2)
print(e(x.send, b"z" * 212960), e(x.send, b"z" * 212961))
print(len(y.recv(300000)))
x.setsockopt(1, 7, 1 << 20)
print(x.getsockopt(1, 7), e(x.send, b"z" * 1000000), len(y.recv(1 << 21)))
# /dev/fd of a socket, fstat, fchmod
print(
    e(os.open, "/proc/self/fd/%d" % x.fileno(), 0),
    os.readlink("/proc/self/fd/%d" % x.fileno()).startswith("socket:["),
    oct(os.fstat(x.fileno()).st_mode),
    os.fstat(x.fileno()).st_ino == int(os.readlink("/proc/self/fd/%d" % x.fileno())[8:-1]),
)
print(
    e(os.lseek, x.fileno(), 0, 0),
    e(os.pread, x.fileno(), 1, 0),
    e(os.ftruncate, x.fileno(), 0),
    e(os.fsync, x.fileno()),
    e(os.writev, x.fileno(), [b"a", b"b"]),
    e(os.readv, y.fileno(), [bytearray(1), bytearray(5)]),
    e(fcntl.ioctl, x, 0x8910, bytes(40)),
    e(fcntl.ioctl, x, 0x5401, bytes(64)),
)
print(socket.if_nametoindex("lo"), socket.if_indextoname(1))
