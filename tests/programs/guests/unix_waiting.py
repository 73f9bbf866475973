"""AF_UNIX calls that wait: for peers, room, timeouts, signals, and the end of the other side."""

import ctypes
import errno
import os
import select
import signal
import socket
import struct
import tempfile
import threading
import time

os.chdir(tempfile.mkdtemp())
signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def e(f, *a):
    try:
        return f(*a)
    except OSError as x:
        return errno.errorcode.get(x.errno, x.errno)


def timed(name, f, *a):
    t = time.monotonic()
    r = e(f, *a)
    d = time.monotonic() - t
    print(name, r, "timeout" in name and d > 0.15)


def later(d, f, *a):
    t = threading.Timer(d, lambda: e(f, *a))
    t.start()
    return t


U = socket.AF_UNIX
# accept blocks; timeouts
l = socket.socket(U)
l.bind("l")
l.listen(0)
l.setsockopt(1, 20, struct.pack("<qq", 0, 300000))
timed("accept timeout", l.accept)
l.setsockopt(1, 20, struct.pack("<qq", 0, 0))
c = socket.socket(U)
later(0.3, c.connect, "l")
timed("accept waits", lambda: l.accept()[1])
# backlog full: connect blocks until accept; SNDTIMEO; nonblock
cs = [socket.socket(U) for _ in range(4)]
print([e(x.connect, "l") for x in cs[:1]])
cs[1].setblocking(False)
print("nonblock connect", e(cs[1].connect, "l"))
cs[2].setsockopt(1, 21, struct.pack("<qq", 0, 300000))
timed("connect timeout", cs[2].connect, "l")
later(0.3, l.accept)
timed("connect waits", cs[3].connect, "l")
x = None
l = socket.socket(U)
l.bind("l2")
l.listen(0)
y = socket.socket(U)
y.connect("l2")
x = socket.socket(U)
later(0.3, l.close)
timed("listener closed", x.connect, "l2")
timed("never accepted", y.recv, 1)
print(e(y.recv, 1))
# listen again with more
l = socket.socket(U)
l.bind("l3")
l.listen(0)
y = socket.socket(U)
y.connect("l3")
x = socket.socket(U)
later(0.3, l.listen, 5)
timed("longer backlog", x.connect, "l3")
# data before accept
y.sendall(b"early")
y.close()
s, _ = l.accept()
print(s.recv(9), s.recv(9), e(s.getpeername), e(s.send, b"x"))
# shutdown wakes
for how in (0, 1, 2):
    a, b = socket.socketpair()
    later(0.2, a.shutdown, how)
    if how == 1:
        later(0.4, b.close)
    timed("recv shut %d" % how, a.recv, 1)
    a, b = socket.socketpair()
    later(0.2, b.shutdown, how)
    later(0.4, b.close)
    timed("recv peer shut %d" % how, a.recv, 1)


def fill(s):
    s.setblocking(False)
    n = 0
    try:
        while True:
            n += s.send(b"x" * 1000)
    except BlockingIOError:
        pass
    s.setblocking(True)
    return n


for how in (0, 1, 2):
    a, b = socket.socketpair()
    print(fill(a))
    later(0.2, b.shutdown, how)
    later(0.4, b.close)
    timed("send peer shut %d" % how, a.send, b"y")
    a, b = socket.socketpair()
    fill(a)
    later(0.2, a.shutdown, how)
    later(0.4, b.close)
    timed("send shut %d" % how, a.send, b"y")
a, b = socket.socketpair()
fill(a)
later(0.2, b.recv, 99999)
later(0.3, b.recv, 99999)
later(0.4, b.recv, 99999)
timed("send waits", a.sendall, b"y" * 30000)
a, b = socket.socketpair()
a.setsockopt(1, 21, struct.pack("<qq", 0, 200000))
fill(a)
timed("send timeout", a.send, b"y")
a, b = socket.socketpair()
a.setsockopt(1, 21, struct.pack("<qq", 0, 200000))
timed("partial send", a.send, b"y" * 1000000)
a, b = socket.socketpair()
a.setsockopt(1, 20, struct.pack("<qq", 0, 200000))
timed("recv timeout", a.recv, 5)
b.send(b"abc")
timed("waitall timeout", a.recv, 5, 0x100)
a.setsockopt(1, 18, 4)
b.send(b"abc")
timed("lowat timeout", a.recv, 50)
later(0.1, b.send, b"d")
b.send(b"abc")
timed("lowat", a.recv, 50)
# datagrams: receiver's queue
d = socket.socket(U, 2)
d.bind("d")
s = socket.socket(U, 2)
s.setblocking(False)
n = 0
while e(s.sendto, b"%d" % n, "d") == (1 if n < 10 else 2):
    n += 1
print("queue", n, e(s.sendto, b"x", "d"))
s.connect("d")
p = select.poll()
p.register(s, 4)
print("pollout", p.poll(0) == [])
ep = select.epoll()
ep.register(s, select.EPOLLOUT | select.EPOLLET)
print(ep.poll(0))
later(0.2, d.recv, 9)
t = time.monotonic()
print("epoll room", len(ep.poll(2)))
s.setblocking(True)
e(s.send, b"z")
later(0.2, d.recv, 9)
timed("dgram waits", s.send, b"y")
s.setsockopt(1, 21, struct.pack("<qq", 0, 200000))
timed("dgram timeout", s.send, b"y")
later(0.2, d.close)
s.setsockopt(1, 21, struct.pack("<qq", 3, 0))
timed("receiver closed", s.send, b"y")
print(e(s.send, b"y"))
# a connected pair has no such bound but SO_SNDBUF
a, b = socket.socketpair(U, 2)
a.setblocking(False)
n = 0
while e(a.send, b"x") == 1:
    n += 1
print("pair", n)
# reconnecting loses what was sent; ECONNRESET
a, b = socket.socketpair(U, 2)
b.send(b"lost")
c = socket.socket(U, 2)
c.bind("c")
a.connect("c")
print(e(a.recv, 9, 0x40), e(b.recv, 9, 0x40), e(b.send, b"x"), e(b.getpeername))
print("may send", e(c.connect, "c"), e(s.sendto, b"x", "c"))
# seqpacket
l = socket.socket(U, 5)
l.bind("q")
l.listen()
q = socket.socket(U, 5)
q.connect("q")
s, _ = l.accept()
q.send(b"one")
q.send(b"two")
q.send(b"")
print(s.recv(2), s.recv(9), s.recvmsg(9), e(s.recv, 1, 0x40))
q.close()
print(s.recv(1), e(s.send, b"x"))
# closing in another thread while a call waits: the call goes on
l = socket.socket(U)
l.bind("m")
l.listen()
fd = l.detach()
later(0.2, os.close, fd)
k = socket.socket(U)
later(0.4, k.connect, "m")
libc = ctypes.CDLL(None, use_errno=True)
t = time.monotonic()
r = libc.accept(fd, 0, 0)
print("closed under accept", r >= 0)
print(k.getpeername(), e(socket.socket(U).connect, "m"))
# signals: restart without, EINTR with a timeout
signal.signal(signal.SIGALRM, lambda *a: None)
a, b = socket.socketpair()
later(0.4, b.send, b"after")
libc.siginterrupt(14, 0)
signal.setitimer(0, 0.2)
timed(
    "restart",
    lambda: (lambda buf: (libc.recv(a.fileno(), buf, 9, 0), buf.value))(
        ctypes.create_string_buffer(10)
    ),
)
a.recv(99, 0x40) if select.select([a], [], [], 0)[0] else None
signal.signal(signal.SIGALRM, lambda *a: None)
libc.siginterrupt(14, 0)
a.setsockopt(1, 20, struct.pack("<qq", 2, 0))
signal.setitimer(0, 0.2)
timed(
    "timeout is not restarted",
    lambda: (
        libc.recv(a.fileno(), ctypes.create_string_buffer(9), 9, 0),
        errno.errorcode[ctypes.get_errno()],
    ),
)
libc.siginterrupt(14, 1)
a.setsockopt(1, 20, struct.pack("<qq", 0, 0))
signal.setitimer(0, 0.2)
timed(
    "interrupted",
    lambda: (
        libc.recv(a.fileno(), ctypes.create_string_buffer(9), 9, 0),
        errno.errorcode[ctypes.get_errno()],
    ),
)
b.send(b"ab")
signal.setitimer(0, 0.2)
timed(
    "interrupted waitall", lambda: libc.recv(a.fileno(), ctypes.create_string_buffer(9), 9, 0x100)
)
