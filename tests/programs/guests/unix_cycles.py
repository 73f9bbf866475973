"""Descriptors that only sockets in flight hold: are they closed when nobody can get at them?"""

import os
import select
import socket
import time

U = socket.AF_UNIX


def eof(r):
    p = select.poll()
    p.register(r, 0)
    return bool(p.poll(2000))


def case(name, build):
    r, w = os.pipe()
    build(w)
    os.close(w)
    # Linux collects later, and when another socket is released
    for _ in range(20):
        s = socket.socket(U)
        s.close()
        time.sleep(0.02)
        if eof.__wrapped__(r) if hasattr(eof, "__wrapped__") else select.select([r], [], [], 0)[0]:
            break
    print(name, select.select([r], [], [], 0)[0] == [r] and os.read(r, 1) == b"")
    os.close(r)


def send(s, *fds):
    socket.send_fds(s, [b"x"], list(fds))


def itself(w):
    a, b = socket.socketpair()
    send(a, b.fileno(), w)
    b.close()
    a.close()


def cross(w):
    a, b = socket.socketpair()
    c, d = socket.socketpair()
    send(a, d.fileno(), w)
    send(c, b.fileno())
    [x.close() for x in (b, d, a, c)]


def ring(w):
    ps = [socket.socketpair() for _ in range(5)]
    for i in range(5):
        send(ps[i][0], ps[(i + 1) % 5][1].fileno(), w)
    for a, b in ps:
        b.close()
    for a, b in ps:
        a.close()


def keeps(w):
    global outside
    outside, b = socket.socketpair()
    c, d = socket.socketpair()
    send(b, d.fileno())
    send(c, w)
    c.close()
    d.close()
    b.close()


def listener(w):
    l = socket.socket(U)
    l.bind("\0gc%d" % os.getpid())
    l.listen()
    c = socket.socket(U)
    c.connect("\0gc%d" % os.getpid())
    send(c, l.fileno(), w)
    l.close()
    c.close()


def dgram(w):
    a = socket.socket(U, 2)
    a.bind("\0gd%d" % os.getpid())
    send_to = socket.socket(U, 2)
    send_to.connect("\0gd%d" % os.getpid())
    send(send_to, a.fileno(), w)
    a.close()
    send_to.close()


def nested(w):
    a, b = socket.socketpair()
    c, d = socket.socketpair()
    send(a, w)
    send(c, b.fileno(), a.fileno())
    [x.close() for x in (a, b, c)]
    d.close()


for f in (itself, cross, ring, listener, dgram, nested):
    case(f.__name__, f)
r, w = os.pipe()
keeps(w)
os.close(w)
s = socket.socket(U)
s.close()
time.sleep(0.2)
print("kept", select.select([r], [], [], 0)[0] == [])
m, fds, _, _ = socket.recv_fds(outside, 1, 9)
d = socket.socket(fileno=fds[0])
m, fds, _, _ = socket.recv_fds(d, 1, 9)
os.write(fds[0], b"alive")
print(os.read(r, 9))
# left over at the end of the process
a, b = socket.socketpair()
send(a, b.fileno(), os.open("/etc/passwd", 0))
b.close()
c, d = socket.socketpair()
send(c, d.fileno(), os.open("/etc/passwd", 0), c.fileno())
d.close()
