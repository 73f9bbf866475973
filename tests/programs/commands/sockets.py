"""AF_UNIX sockets: every call in every state, and programs that live by them."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from pathlib import Path

from tests.programs.command import Command, bash
from tests.programs.commands.python import PYTHON, python

GUESTS = Path(__file__).parents[1] / "guests"


def guest(name: str, program: str, *arguments: str, slow: bool = False) -> Command:
    """A program of `guests/`, with arguments."""
    return Command(
        f"sockets-{name}",
        (PYTHON, "-I", "-S", "-u", "program.py", *arguments),
        (PYTHON,),
        files={"program.py": (GUESTS / program).read_bytes()},
        slow=slow,
    )


COMMANDS = (
    guest("errnos", "unix_errnos.py"),
    guest("options", "unix_options.py"),
    guest("names", "unix_names.py"),
    guest("cycles", "unix_cycles.py"),
    guest("waiting", "unix_waiting.py", slow=True),
    guest("walk", "unix_walk.py", "1", "40", "80"),
    guest("walk-urgent", "unix_walk.py", "1000", "40", "80", "oob"),
    guest("walk-long", "unix_walk.py", "17000", "25", "400", slow=True),
    python(
        "socketserver",
        """
        import os, socket, socketserver, threading
        class Upper(socketserver.StreamRequestHandler):
            def handle(self): [self.wfile.write(line.upper()) for line in self.rfile]
        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): daemon_threads = True
        with Server("s", Upper) as server:
            threading.Thread(target=server.serve_forever).start()
            for i in range(5):
                c = socket.socket(socket.AF_UNIX); c.connect("s"); c.sendall(b"one %d\\ntwo\\n" % i); c.shutdown(1); print(c.makefile().read().split()); c.close()
            server.shutdown()
        class Echo(socketserver.DatagramRequestHandler):
            def handle(self): self.wfile.write(self.rfile.read()[::-1])
        with socketserver.UnixDatagramServer("d", Echo) as server:
            c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); c.bind("c"); c.sendto(b"backwards", "d"); server.handle_request(); print(c.recvfrom(99))
        """,
    ),
    python(
        "asyncio-unix",
        """
        import asyncio, socket
        async def serve(r, w):
            while line := await r.readline(): w.write(line.upper()); await w.drain()
            w.close()
        async def client(n):
            r, w = await asyncio.open_unix_connection("s"); out = []
            for i in range(20): w.write(b"%d %d\\n" % (n, i)); out.append(await r.readline())
            w.write_eof(); rest = await r.read(); w.close(); return len(out), out[-1], rest
        async def main():
            server = await asyncio.start_unix_server(serve, "s"); print(*await asyncio.gather(*(client(n) for n in range(10))))
            server.close(); await server.wait_closed()
            try: await asyncio.open_unix_connection("missing")
            except OSError as error: print(error)
        asyncio.run(main())
        """,
    ),
    python(
        "multiprocessing-connection",
        """
        import os, socket
        from multiprocessing.connection import Client, Listener, wait
        from multiprocessing.reduction import recv_handle, send_handle
        with Listener("l", "AF_UNIX", authkey=b"key") as listener:
            if (pid := os.fork()) == 0:
                with Client("l", authkey=b"key") as c:
                    c.send({"a": [1, 2, b"x" * 100000]}); print(c.recv(), flush=True)
                    with open("f", "w+") as f: f.write("passed"); f.flush(); send_handle(c, f.fileno(), os.getppid())
                os._exit(0)
            with listener.accept() as c:
                print(len(c.recv()["a"][2]), listener.last_accepted, flush=True); c.send("answer"); wait([c]); fd = recv_handle(c); print(os.pread(fd, 99, 0), os.waitpid(pid, 0)[1])
        """,
    ),
    bash(
        "socat-unix",
        """
        socat -u UNIX-LISTEN:s,unlink-early CREATE:out & while [ ! -S s ]; do sleep .05; done
        seq 1000 | socat -u - UNIX-CONNECT:s; wait; tail -n1 out; ls s 2>&1 | wc -l
        socat UNIX-RECVFROM:d SYSTEM:'tr a-z A-Z' & while [ ! -S d ]; do sleep .05; done
        echo shout | socat -t1 - UNIX-SENDTO:d,bind=c; wait
        echo nobody | socat - UNIX-CONNECT:missing 2>&1 | sed 's/^.* E/E/' | head -n1
        """,
        "socat",
    ),
)
