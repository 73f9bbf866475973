"""CPython and what it asks of the kernel: processes, threads, signals, sockets, memory."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.commands.python import python

COMMANDS = (
    python(
        "subprocess",
        """
        import subprocess, sys
        print(subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout.strip())
        p = subprocess.Popen(["sort", "-n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        print(p.communicate("3\\n1\\n2\\n")[0].split(), p.returncode)
        print(subprocess.call("exit 5", shell=True), subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
        try: subprocess.run(["sleep", "9"], timeout=0.3)
        except subprocess.TimeoutExpired as error: print("expired", error.cmd)
        try: subprocess.run(["/missing"])
        except FileNotFoundError as error: print(error)
        a = subprocess.Popen(["seq", "500"], stdout=subprocess.PIPE)
        b = subprocess.Popen(["tail", "-n1"], stdin=a.stdout, stdout=subprocess.PIPE); a.stdout.close()
        print(b.communicate()[0], a.wait())
        """,
    ),
    python(
        "fork-pipe",
        """
        import os
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(r)
            for i in range(1000): os.write(w, b"%04d" % i)
            os._exit(17)
        os.close(w)
        data = b""
        while chunk := os.read(r, 333): data += chunk
        print(len(data), data[:8], data[-8:], os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        pids = [os.fork() or os._exit(i) for i in range(1, 6)]
        print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in pids))
        try: os.wait()
        except ChildProcessError as error: print(error)
        """,
    ),
    python(
        "spawn",
        """
        import os
        r, w = os.pipe()
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo spawned; exit 3"], {"A": "1"}, file_actions=[(os.POSIX_SPAWN_DUP2, w, 1), (os.POSIX_SPAWN_CLOSE, r)])
        os.close(w); print(os.read(r, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(os.popen("echo popen").read().strip(), os.system("exit 4") >> 8)
        os.execv("/bin/echo", ["echo", "exec"])
        """,
    ),
    python(
        "threads",
        """
        import threading, queue
        lock, total, q = threading.Lock(), 0, queue.Queue()
        def add():
            global total
            for _ in range(500):
                with lock: total += 1
        threads = [threading.Thread(target=add) for _ in range(6)]
        [t.start() for t in threads]; [t.join() for t in threads]; print(total)
        def work():
            while (n := q.get()) is not None: out.put(n * n)
        out = queue.Queue(); ws = [threading.Thread(target=work) for _ in range(3)]; [w.start() for w in ws]
        [q.put(i) for i in range(30)]; [q.put(None) for _ in ws]; [w.join() for w in ws]
        print(sorted(out.queue))
        e = threading.Event(); print(e.wait(0.05)); threading.Timer(0.05, e.set).start(); print(e.wait(5))
        b = threading.Barrier(3); hits = []
        ts = [threading.Thread(target=lambda: (b.wait(), hits.append(1))) for _ in range(3)]; [t.start() for t in ts]; [t.join() for t in ts]; print(len(hits))
        c = threading.Condition(); print(c.acquire(), c.wait(0.01), c.release())
        """,
    ),
    python(
        "multiprocessing",
        """
        import multiprocessing as mp
        def square(n): return n * n
        def child(connection): connection.send(sum(connection.recv())); connection.close()
        if __name__ == "__main__":
            mp.set_start_method("fork")
            with mp.Pool(2) as pool: print(pool.map(square, range(10)))
            a, b = mp.Pipe(); p = mp.Process(target=child, args=(b,)); p.start(); a.send([1, 2, 3]); print(a.recv()); p.join(); print(p.exitcode)
            v = mp.Value("i", 0)
            def bump():
                for _ in range(50):
                    with v.get_lock(): v.value += 1
            ps = [mp.Process(target=bump) for _ in range(3)]; [p.start() for p in ps]; [p.join() for p in ps]; print(v.value)
        """,
        slow=True,
    ),
    python(
        "shared-memory",
        """
        from multiprocessing import shared_memory
        import os
        m = shared_memory.SharedMemory(create=True, size=5000)
        if (pid := os.fork()) == 0: m.buf[10:15] = b"child"; os._exit(0)
        os.waitpid(pid, 0); print(bytes(m.buf[8:17])); m.close(); m.unlink()
        """,
    ),
    python(
        "mmap",
        """
        import mmap, os
        with open("f", "wb") as f: f.write(b"0123456789" * 1000)
        with open("f", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            m[5:8] = b"abc"; m.flush(); print(m.find(b"abc"), m[:12], len(m)); m.resize(20000); m[19999] = 90
        print(os.path.getsize("f"), open("f", "rb").read()[-2:])
        a = mmap.mmap(-1, 8192)
        if (pid := os.fork()) == 0: a[0:5] = b"hello"; os._exit(0)
        os.waitpid(pid, 0); print(a[:5])
        with open("f", "rb") as f: p = mmap.mmap(f.fileno(), 4096, access=mmap.ACCESS_COPY); p[0] = 120; print(p[:2], f.read(2))
        try: mmap.mmap(-1, 4096, prot=mmap.PROT_READ)[0:1] = b"x"
        except TypeError as error: print(error)
        """,
    ),
    python(
        "select-poll-epoll",
        """
        import os, select, socket
        r, w = os.pipe()
        print(select.select([r], [w], [], 0) == ([], [w], []), select.select([r], [], [], 0.05))
        p = select.poll(); p.register(r, select.POLLIN); print(p.poll(0)); os.write(w, b"x"); print(p.poll(1000) == [(r, select.POLLIN)])
        e = select.epoll(); e.register(r, select.EPOLLIN | select.EPOLLET); print(len(e.poll(1)), len(e.poll(0))); os.write(w, b"y"); print(len(e.poll(1)))
        os.close(w); print([x & select.EPOLLHUP != 0 for _, x in e.poll(1)]); e.close()
        a, b = socket.socketpair(); a.setblocking(False)
        try: a.recv(1)
        except BlockingIOError as error: print(error)
        b.sendall(b"hello"); print(select.select([a], [], [], 1)[0] == [a], a.recv(3), a.recv(9)); b.shutdown(socket.SHUT_WR); print(a.recv(1))
        """,
    ),
    python(
        "unix-sockets",
        """
        import array, os, socket, threading
        s = socket.socket(socket.AF_UNIX); s.bind("sock"); s.listen()
        def serve():
            c, _ = s.accept()
            with c: c.sendall(c.recv(100).upper())
        t = threading.Thread(target=serve); t.start()
        c = socket.socket(socket.AF_UNIX); c.connect("sock"); c.sendall(b"shout"); print(c.recv(100), c.recv(1), c.getpeername()); t.join()
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.send(b"one"); a.send(b"two"); print(b.recv(2), b.recv(9))
        a, b = socket.socketpair(); fd = os.open("words.txt", os.O_RDONLY); socket.send_fds(a, [b"fd"], [fd])
        m, fds, _, _ = socket.recv_fds(b, 10, 1); print(m, os.read(fds[0], 4))
        try: socket.socket(socket.AF_UNIX).connect("missing")
        except OSError as error: print(error)
        """,
    ),
    python(
        "signals",
        """
        import os, signal, time
        seen = []
        signal.signal(signal.SIGUSR1, lambda n, f: seen.append(n)); os.kill(os.getpid(), signal.SIGUSR1); print(seen)
        signal.signal(signal.SIGALRM, lambda n, f: seen.append("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.1); signal.pause(); print(seen)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2}); os.kill(os.getpid(), signal.SIGUSR2)
        print(signal.sigpending(), signal.sigwait({signal.SIGUSR2}), signal.sigtimedwait({signal.SIGUSR2}, 0.05))
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05); end = time.monotonic() + 0.5
        while time.monotonic() < end: pass
        signal.setitimer(signal.ITIMER_REAL, 0); print(seen.count("alarm") > 2)
        def handler(n, f): raise KeyboardInterrupt
        signal.signal(signal.SIGINT, handler)
        try: os.kill(os.getpid(), signal.SIGINT); time.sleep(5)
        except KeyboardInterrupt: print("interrupted")
        r, w = os.pipe(); os.set_blocking(w, False); signal.set_wakeup_fd(w); os.kill(os.getpid(), signal.SIGUSR1); print(os.read(r, 9))
        signal.signal(signal.SIGTERM, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGTERM)
        """,
    ),
    python(
        "segfault",
        """
        import ctypes
        print("before"); ctypes.string_at(0)
        """,
    ),
    python(
        "locks",
        """
        import fcntl, os, time
        f = open("l", "w"); fcntl.lockf(f, fcntl.LOCK_EX)
        if (pid := os.fork()) == 0:
            g = open("l", "w")
            try: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB); os._exit(1)
            except BlockingIOError: pass
            fcntl.lockf(g, fcntl.LOCK_EX); os._exit(0)
        time.sleep(0.3); fcntl.lockf(f, fcntl.LOCK_UN); print(os.waitpid(pid, 0)[1])
        a, b = open("m", "w"), open("m", "w"); fcntl.flock(a, fcntl.LOCK_SH); fcntl.flock(b, fcntl.LOCK_SH)
        try: fcntl.flock(a, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error: print(error)
        print(fcntl.fcntl(a, fcntl.F_GETFD), fcntl.fcntl(a, fcntl.F_GETFL) & os.O_ACCMODE)
        """,
    ),
    python(
        "time",
        """
        import datetime, time
        t = time.monotonic(); time.sleep(0.2); print(time.monotonic() - t >= 0.2, time.time() > 1e9, time.get_clock_info("monotonic").monotonic)
        print(time.strftime("%F %T", time.gmtime(1e9)), datetime.datetime.fromtimestamp(0, datetime.timezone.utc), time.tzname)
        print(time.process_time() > 0, time.thread_time() >= 0, time.clock_getres(time.CLOCK_REALTIME) < 0.1)
        """,
    ),
    python(
        "asyncio",
        """
        import asyncio, sys
        async def worker(name, delay, out): await asyncio.sleep(delay); out.append(name)
        async def main():
            out = []
            await asyncio.gather(*(worker(n, d, out) for n, d in (("c", 0.3), ("a", 0.05), ("b", 0.15)))); print(out)
            try: await asyncio.wait_for(asyncio.sleep(5), 0.1)
            except asyncio.TimeoutError: print("timeout")
            p = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1); print((await p.communicate(b"through cat"))[0], p.returncode)
            print(await asyncio.to_thread(sum, range(100)))
            q = asyncio.Queue(); t = asyncio.create_task(q.get()); await q.put(5); print(await t)
            async def echo(r, w): w.write((await r.readline()).upper()); await w.drain(); w.close()
            s = await asyncio.start_unix_server(echo, "s"); r, w = await asyncio.open_unix_connection("s"); w.write(b"line\\n"); print(await r.read()); w.close(); s.close()
        asyncio.run(main())
        """,
    ),
    python(
        "futures",
        """
        import concurrent.futures as cf, os
        def f(n): return sum(i * i for i in range(n))
        with cf.ThreadPoolExecutor(3) as pool: print(list(pool.map(f, range(0, 500, 100))), pool.submit(pow, 2, 10).result())
        with cf.ProcessPoolExecutor(2) as pool: print(sorted(x.result() for x in cf.as_completed([pool.submit(f, n) for n in (10, 20, 30)])))
        with cf.ThreadPoolExecutor() as pool:
            try: pool.submit(lambda: 1 / 0).result()
            except ZeroDivisionError as error: print(error)
        """,
        slow=True,
    ),
    python(
        "os-facts",
        """
        import os, resource, sys, platform
        print(os.getpid() > 0, os.getppid() >= 0, os.getuid(), os.getcwd() == os.path.realpath("."), os.umask(0o22) == 0o22, os.uname().sysname, platform.machine())
        print(resource.getrlimit(resource.RLIMIT_CORE)[0] >= -1, os.cpu_count() > 0, len(os.urandom(9)), os.sysconf("SC_PAGESIZE"), sys.maxsize)
        os.environ["NEW"] = "x"; print(os.popen("echo $NEW").read().strip(), os.get_terminal_size.__name__, os.isatty(0))
        os.chdir("/"); print(os.getcwd()); os.setsid() if os.getpid() != os.getsid(0) and os.fork() == 0 else None
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
        try: fs = [open("/dev/null") for _ in range(40)]
        except OSError as error: print(error.strerror)
        """,
    ),
    python(
        "memory",
        """
        import gc, resource
        a = bytearray(60_000_000); a[::4096] = b"x" * len(a[::4096]); print(len(a), a.count(b"x")); del a
        xs = [{"n": i} for i in range(20000)]; print(sum(x["n"] for x in xs)); del xs; print(gc.collect() >= 0)
        resource.setrlimit(resource.RLIMIT_AS, (400_000_000, 400_000_000))
        try: bytearray(900_000_000)
        except MemoryError: print("MemoryError")
        """,
        slow=True,
    ),
    python(
        "vectors-of-io",
        """
        import os
        fd = os.open("v", os.O_RDWR | os.O_CREAT)
        print(os.writev(fd, [b"ab", b"", b"cdef"]), os.lseek(fd, 1, 0)); x, y = bytearray(2), bytearray(9); print(os.readv(fd, [x, y]), bytes(x), bytes(y))
        g = os.open("w", os.O_RDWR | os.O_CREAT); os.lseek(fd, 0, 0); print(os.sendfile(g, fd, 0, 4), os.copy_file_range(fd, g, 2)); os.posix_fallocate(g, 0, 100); print(os.fstat(g).st_size)
        m = os.memfd_create("m"); os.write(m, b"anonymous"); os.lseek(m, 0, 0); print(os.read(m, 99)); e = os.eventfd(3); print(os.eventfd_read(e))
        os.set_inheritable(g, True); d = os.dup(g); print(os.get_inheritable(d), os.fstat(d).st_size); os.ftruncate(d, 3); print(os.fstat(g).st_size); os.fsync(g)
        """,
    ),
    python(
        "pty",
        """
        import os, pty, termios, tty
        m, s = pty.openpty(); print(os.isatty(s), os.ttyname(s).startswith("/dev/pts/")); os.write(m, b"line\\n"); print(os.read(s, 100), os.read(m, 100))
        a = termios.tcgetattr(s); tty.setraw(s); os.write(m, b"raw"); print(os.read(s, 10)); termios.tcsetattr(s, termios.TCSANOW, a)
        os.write(s, b"x\\n"); print(os.read(m, 10))
        """,
    ),
)
