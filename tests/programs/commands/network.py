"""Programs that look at the network, change it, and talk over it: alone, with lo and nothing else."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

import attrs

from tests.programs.command import Command, run, script


def look(name: str, line: str) -> Command:
    """One program."""
    return attrs.evolve(run(f"net-{name}", line), alone=True)


def act(name: str, text: str, *needs: str) -> Command:
    """A shell script."""
    return attrs.evolve(script(f"net-{name}", text, *needs), alone=True)


def python(name: str, text: str) -> Command:
    """A Python program, which prints the same in every run."""
    command = script(
        f"net-py-{name}", "exec python3 program.py", "python3", files={"program.py": text}
    )
    return attrs.evolve(command, alone=True)


SERVER = """
import http.server, os, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass
    def version_string(self): return 'test'
    def date_time_string(self, timestamp=None): return 'then'
server = http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Quiet)
print('ready', flush=True)
server.serve_forever()
"""

TABLES = """
import os, socket as s, time
def tcp(f, a):
    l = s.socket(f, s.SOCK_STREAM); l.bind((a, 7001)); l.listen(5)
    c = s.socket(f, s.SOCK_STREAM); c.bind((a, 7002)); c.connect((a, 7001)); d, _ = l.accept()
    p = s.socket(f, s.SOCK_STREAM); p.bind((a, 7003)); p.connect((a, 7001))
    c.send(b'unread')
    b = s.socket(f, s.SOCK_STREAM); b.bind((a, 7004))
    return [l, c, d, p, b]
def udp(f, a):
    u = s.socket(f, s.SOCK_DGRAM); u.bind((a, 7005))
    v = s.socket(f, s.SOCK_DGRAM); v.bind((a, 7006)); v.connect((a, 7005)); v.send(b''); u.recv(9)
    w = s.socket(f, s.SOCK_DGRAM); w.bind(('', 7007 + f))
    return [u, v, w]
def raw(f, a, p):
    r = s.socket(f, s.SOCK_RAW, p); q = s.socket(f, s.SOCK_RAW, 99); q.connect((a, 0))
    return [r, q]
socks = sum(([*tcp(f, a), *udp(f, a), *raw(f, a, p)] for f, a, p in ((s.AF_INET, '127.0.0.1', 1), (s.AF_INET6, '::1', 58))), [])
six = s.socket(s.AF_INET6, s.SOCK_STREAM); six.bind(('::ffff:127.0.0.1', 7008)); six.connect(('::ffff:127.0.0.1', 7001)); socks.append(six)
time.sleep(0.1)
names = {str(os.fstat(k.fileno()).st_ino): n for n, k in enumerate(socks)}
for t in ('tcp', 'tcp6', 'udp', 'udp6', 'raw', 'raw6'):
    first, *lines = open('/proc/net/' + t).read().splitlines()
    print(t, repr(first))
    for w, l in sorted((l.split()[1:], l) for l in lines):
        print(l[l.index(':'):].split(' ' + w[8] + ' ')[0], names.get(w[8], w[8] == '0'), *w[11:][-1:], len(l) * (t in ('tcp', 'udp')))
print(*(l.split('mem')[0] for l in open('/proc/net/sockstat') if l[:3] in ('UDP', 'RAW')), *open('/proc/net/sockstat6'))
"""

COMMANDS = (
    # Looking
    look("ip-addr", "ip addr"),
    look("ip-addr-6", "ip -6 addr"),
    look("ip-addr-oneline", "ip -o addr"),
    look("ip-addr-brief", "ip -br addr"),
    look("ip-addr-json", "ip -j addr"),
    look("ip-addr-none", "ip addr show dev nosuch0"),
    look("ip-link", "ip link"),
    look("ip-link-statistics", "ip -s -s link"),
    look("ip-route", "ip route show table all"),
    look("ip-route-6", "ip -6 route show table all"),
    look("ip-rule", "ip rule"),
    look("ip-rule-6", "ip -6 rule"),
    look("ip-neigh", "ip neigh"),
    look("ip-maddr", "ip maddr show dev lo"),
    act(
        "ip-route-get",
        "for a in 127.0.0.1 127.9.9.9 ::1 1.1.1.1 2001:db8::1 224.0.0.1; do ip route get $a; echo $?; done",
        "ip",
    ),
    look("ifconfig", "ifconfig -a"),
    look("route", "route -n"),
    look("arp", "arp -n"),
    look("netstat-interfaces", "netstat -i"),
    look("netstat-routes", "netstat -rn"),
    look("netstat-none", "netstat -tuln"),
    look("ss-none", "ss -tuln"),
    look("hostname", "hostname -I"),
    look("getent-ahosts", "getent ahosts localhost"),
    act(
        "proc-net",
        "cat /proc/net/route /proc/net/if_inet6 /proc/net/arp /proc/net/tcp /proc/net/udp6 /proc/net/raw /proc/net/igmp /proc/net/dev_mcast; head -n2 /proc/net/dev",
    ),
    python("tables", TABLES),
    act(
        "sysctl-put",
        "cd /proc/sys/net; for w in '4096 core/somaxconn' '-1 core/somaxconn' 'x core/somaxconn' '7000 7100 ipv4/ip_local_port_range' '7100 7000 ipv4/ip_local_port_range' '7000 ipv4/ip_local_port_range' '0x10 ipv4/tcp_keepalive_probes' '010 ipv4/tcp_synack_retries' '128 ipv4/tcp_keepalive_probes' 'nosuch ipv4/tcp_congestion_control' '1025 ipv4/ip_unprivileged_port_start' '7001 ipv4/ip_unprivileged_port_start' '80 ipv4/ip_local_port_range' '1 ipv6/bindv6only' '-1 ipv4/route/flush'; do f=${w##* }; { echo ${w% *} > $f; } 2>&1 | sed 's/.*: //'; case $f in *flush|*congestion_control) ;; *) cat $f; esac; done",
    ),
    act(
        "sysctl",
        "for f in core/somaxconn ipv4/ip_local_port_range ipv4/tcp_syncookies ipv4/tcp_fin_timeout ipv4/tcp_keepalive_time ipv4/tcp_retries2 ipv6/bindv6only ipv4/ip_unprivileged_port_start; do echo $f $(cat /proc/sys/net/$f); done",
    ),
    # Changing
    act(
        "ip-addr-add",
        "ip addr add 10.1.2.3/8 dev lo; ip addr add 10.1.2.4/8 dev lo; ip addr add fd00::1/64 dev lo; ip addr add 10.1.2.3/8 dev lo; ip addr; ip route show table all; ip addr del 10.1.2.3/8 dev lo; ip addr del 10.9.9.9/8 dev lo; ip -br addr",
        "ip",
    ),
    act(
        "ip-link-set",
        "ip link set lo mtu 1500; ip link; ip link set lo down; ip addr; ip link set lo up; ip addr; ip link set nosuch up; ip link add d0 type nosuchtype; ip link del lo; echo $?",
        "ip",
    ),
    act(
        "ip-route-add",
        "ip addr add 10.1.0.1/16 dev lo; ip route add 10.9.0.0/16 via 10.1.0.9; ip route add unreachable 10.8.0.0/16; ip route add 10.9.0.0/16 via 10.1.0.9; ip route add 10.7.0.0/16 via 99.9.9.9; ip route replace 10.9.0.0/16 via 10.1.0.8; ip route; ip route get 10.8.1.1; ip route del 10.9.0.0/16; ip route del 10.9.0.0/16; ip route",
        "ip",
    ),
    act(
        "ip-monitor",
        "timeout 2 ip monitor > seen & sleep 1; ip addr add 10.1.2.3/8 dev lo; ip link set lo mtu 1500; ip addr del 10.1.2.3/8 dev lo; wait; cat seen",
        "ip",
        "timeout",
    ),
    act(
        "ifconfig-set",
        "ifconfig lo 127.0.0.5 netmask 255.255.0.0; ifconfig lo; ifconfig lo mtu 2000; ifconfig lo | head -n1; ifconfig lo down; ifconfig; ifconfig lo up; ifconfig nosuch; echo $?",
        "ifconfig",
    ),
    # Talking
    act(
        "nc-tcp",
        "nc -l 127.0.0.1 5555 > got & sleep 1; echo hello | nc -q 1 127.0.0.1 5555; wait; cat got; nc -z -v 127.0.0.1 5556; echo $?",
        "nc",
    ),
    act(
        "nc-udp",
        "timeout 3 nc -u -l 127.0.0.1 5555 > got & sleep 1; echo hello | nc -u -q 1 127.0.0.1 5555; wait; cat got",
        "nc",
        "timeout",
    ),
    act(
        "ping",
        "ping -c 2 -i 0.2 -q 127.0.0.1 | head -n 4 | sed 's/, time.*//'; ping -c 1 -q ::1 | head -n 4 | sed 's/, time.*//'; ping -c 1 -W 1 192.0.2.1; echo $?",
        "ping",
    ),
    attrs.evolve(
        script(
            "net-curl",
            "python3 server.py > ready & while ! grep -q ready ready 2>/dev/null; do sleep 0.1; done; curl -s -i http://127.0.0.1:8080/words.txt | grep -v Last-Mod; curl -s http://localhost:8080/none -o /dev/null -w '%{http_code}\\n'; curl -s -S http://127.0.0.1:8081/ 2>&1 | sed 's/after .* ms/later/'; kill $!",
            "curl",
            "python3",
            files={"server.py": SERVER},
        ),
        alone=True,
    ),
    act(
        "listeners",
        "python3 -c \"import socket,time; a=socket.create_server(('127.0.0.1',7001)); b=socket.create_server(('::1',7002),family=socket.AF_INET6); c=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); c.bind(('0.0.0.0',7003)); print('ready',flush=True); time.sleep(20)\" > ready & while ! grep -qs ready ready; do sleep 0.1; done; netstat -tuln; ss -Htuln | sort; ss -Htln 'sport = :7001'; ss -Htln 'sport > 7001'; kill $!",
        "python3",
        "ss",
        "netstat",
    ),
    python(
        "names",
        "import socket\nprint(socket.if_nameindex(), socket.if_nametoindex('lo'), socket.if_indextoname(1))\nfor flags in (0, socket.AI_ADDRCONFIG, socket.AI_NUMERICHOST | socket.AI_PASSIVE):\n    for name in ('localhost', '127.0.0.1', '::1', None, 'no.such'):\n        try:\n            print(flags, name, sorted(socket.getaddrinfo(name, 80, flags=flags, type=socket.SOCK_STREAM)))\n        except socket.gaierror as e:\n            print(flags, name, 'error')\nprint(socket.getservbyname('http'), socket.getnameinfo(('127.0.0.1', 80), 0))\n",
    ),
    python(
        "echo",
        "import socket, threading\ns = socket.create_server(('127.0.0.1', 0))\ndef serve():\n    c, _ = s.accept()\n    with c:\n        while d := c.recv(65536): c.sendall(d)\nt = threading.Thread(target=serve); t.start()\nwith socket.create_connection(s.getsockname()) as c:\n    total = 0\n    for n in (1, 10, 1000, 100000, 300000):\n        c.sendall(bytes(n)); got = 0\n        while got < n: got += len(c.recv(1 << 20))\n        total += got\n    c.shutdown(socket.SHUT_WR)\n    print(total, c.recv(1))\nt.join()\n",
    ),
    python(
        "asyncio",
        "import asyncio\nasync def serve(r, w):\n    while line := await r.readline():\n        w.write(line.upper()); await w.drain()\n    w.close()\nasync def talk(port, n):\n    r, w = await asyncio.open_connection('127.0.0.1', port)\n    for i in range(20):\n        w.write(f'{n} line {i}\\n'.encode()); assert (await r.readline()) == f'{n} LINE {i}\\n'.encode()\n    w.close(); await w.wait_closed(); return n\nasync def main():\n    s = await asyncio.start_server(serve, '127.0.0.1', 0)\n    port = s.sockets[0].getsockname()[1]\n    print(sorted(await asyncio.gather(*(talk(port, n) for n in range(20)))))\n    s.close()\nasyncio.run(main())\n",
    ),
    python(
        "udp",
        "import socket\na = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(('127.0.0.1', 0))\nb = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.bind(('127.0.0.1', 0))\nfor o in (socket.IP_RECVTOS, 8, socket.IP_RECVTTL): a.setsockopt(socket.IPPROTO_IP, o, 1)\nb.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10); b.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)\nfor n in (0, 1, 1472, 1473, 9000, 65507):\n    b.sendto(bytes(n), a.getsockname()); d, anc, flags, _ = a.recvmsg(70000, 200)\n    print(len(d), sorted(anc), flags)\nb.sendto(b'x' * 100, a.getsockname()); print(a.recvmsg(10, 200)[2])\na.setblocking(False)\ntry: a.recv(1)\nexcept BlockingIOError: print('again')\n",
    ),
    python(
        "multicast",
        "import socket, struct\na = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(('', 7777))\na.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('239.1.2.3') + socket.inet_aton('127.0.0.1'))\nb = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nb.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('127.0.0.1'))\nprint(b.sendto(b'to all', ('239.1.2.3', 7777))); a.settimeout(5); print(a.recv(100))\nb.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0); b.sendto(b'not to us', ('239.1.2.3', 7777)); a.settimeout(0.3)\ntry: print(a.recv(100))\nexcept TimeoutError: print('none')\nprint([l.split() for l in open('/proc/net/igmp')][2:4])\n",
    ),
    python(
        "ping-raw",
        "import socket, struct\ns = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); s.settimeout(5)\ndef sum16(d):\n    t = sum(struct.unpack('!%dH' % (len(d) // 2), d)); t = (t & 0xffff) + (t >> 16); return ~(t + (t >> 16)) & 0xffff\nh = struct.pack('!BBHHH', 8, 0, 0, 77, 1) + b'payload!'; h = h[:2] + struct.pack('!H', sum16(h)) + h[4:]\ns.setsockopt(255, 1, struct.pack('<I', ~(1 << 0) & 0xffffffff))\nprint(s.sendto(h, ('127.0.0.1', 0)))\nd = s.recv(1000); print(len(d), d[20:22].hex(), d[24:].hex())\ns.settimeout(0.2)\ntry: print(s.recv(1000))\nexcept TimeoutError: print('filtered')\n",
    ),
    python(
        "header-included",
        "import socket, struct\nr = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(('127.0.0.1', 6001)); r.settimeout(5)\ns = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)\nudp = struct.pack('!HHHH', 5001, 6001, 8 + 5, 0) + b'hello'\nip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 0, 0, 0, 9, 17, 0, bytes(4), socket.inet_aton('127.0.0.1'))\nprint(s.sendto(ip + udp, ('127.0.0.1', 0))); print(r.recvfrom(100))\n",
    ),
    python(
        "netlink",
        "import socket, struct\ns = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.bind((0, 0))\nprint(s.getsockname()[1] == 0, s.getsockname()[0] > 0)\ndef ask(kind, body, flags):\n    s.send(struct.pack('=IHHII', 16 + len(body), kind, flags, 5, 0) + body); d = s.recv(65536)\n    while flags & 0x300 and int.from_bytes(d[-16:-14], 'little') != 3: d += s.recv(65536)\n    return d\nd = ask(22, b'\\2' + bytes(7), 0x301); print(d[:4], d[4:6], d[16:24], d[24:48])\nd = ask(122, bytes(16), 5); print(struct.unpack('=IHHII', d[:16])[1:4], struct.unpack('=i', d[16:20]))\nfor p in (1, 9, 31, 32, 99):\n    try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, p) if p > 30 else None\n    except OSError as e: print(p, e.errno)\nfor t in (1, 5):\n    try: socket.socket(socket.AF_NETLINK, t, 0)\n    except OSError as e: print(t, e.errno)\n",
    ),
)
