"""The paper's figure 1, from Python: datagrams of several senders, with one system call."""

import ctypes
import os
import socket
import sys

from hardtack import Script

BATCH = 16
script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "figure1.lua")
with open(sys.argv[1] if len(sys.argv) > 1 else script) as file:
    receive = Script(file.read())
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
server.bind(("127.0.0.1", 0))
clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
for number in range(9):
    clients[number % 3].sendto(b"datagram %d" % number, server.getsockname())
data = ctypes.create_string_buffer(BATCH * 1024)
names = ctypes.create_string_buffer(BATCH * 28)
name_lengths = (ctypes.c_int * BATCH)(*[28] * BATCH)
lengths = (ctypes.c_int * BATCH)()
count = receive(server.fileno(), data, names, name_lengths, lengths, BATCH)
for i in range(count):
    port = int.from_bytes(names.raw[28 * i + 2 : 28 * i + 4], "big")
    sender = [client.getsockname()[1] for client in clients].index(port)
    print(data.raw[1024 * i : 1024 * i + lengths[i]].decode(), "from client", sender)
print(receive(server.fileno(), data, names, name_lengths, lengths, BATCH), "more")
