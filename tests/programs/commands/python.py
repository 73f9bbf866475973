"""CPython and its standard library, as Debian built it."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

import textwrap

from tests.programs.command import Command

PYTHON = "/usr/bin/python3"


def python(name: str, source: str, *, slow: bool = False) -> Command:
    """A Python program in a file of its own, without site packages."""
    return Command(
        f"python-{name}",
        (PYTHON, "-I", "-S", "-u", "program.py"),
        (PYTHON,),
        files={"program.py": textwrap.dedent(source).encode()},
        slow=slow,
    )


COMMANDS = (
    Command("python-version", (PYTHON, "-V"), (PYTHON,)),
    Command("python-expression", (PYTHON, "-c", "print(6 * 7, 2 ** 100, 1 / 3)"), (PYTHON,)),
    Command(
        "python-stdin",
        (PYTHON, "-"),
        (PYTHON,),
        stdin=b"import sys\nprint('in', sys.argv)\nsys.exit(9)\n",
    ),
    Command(
        "python-traceback", (PYTHON, "-c", "def f(): raise ValueError('boom')\nf()"), (PYTHON,)
    ),
    Command(
        "python-module",
        (PYTHON, "-m", "json.tool", "--sort-keys", "j"),
        (PYTHON,),
        files={"j": b'{"b": [1, 2.5], "a": null}'},
    ),
    python(
        "files",
        """
        import os, pathlib, shutil, stat
        p = pathlib.Path("d/e"); p.mkdir(parents=True)
        (p / "f").write_text("text\\n" * 3); os.link(p / "f", p / "g"); os.symlink("f", p / "s")
        print(sorted(os.listdir(p)), os.stat(p / "f").st_nlink, os.readlink(p / "s"))
        print([(e.name, e.is_file(follow_symlinks=False), e.is_symlink()) for e in sorted(os.scandir(p), key=lambda e: e.name)])
        os.chmod(p / "f", 0o640); print(stat.filemode(os.stat(p / "f").st_mode))
        os.utime(p / "f", ns=(1, 2_000_000_003)); print(os.stat(p / "f").st_mtime_ns)
        shutil.copytree("d", "c", symlinks=True); print(sorted(map(str, pathlib.Path("c").rglob("*"))))
        os.rename("c", "moved"); shutil.rmtree("moved"); print(os.path.exists("moved"))
        with open("f", "w+b") as f:
            f.seek(1000); f.write(b"end"); print(f.tell()); f.truncate(500); f.seek(0); print(len(f.read()))
        fd = os.open("f", os.O_RDWR); print(os.pwrite(fd, b"abc", 7), os.pread(fd, 5, 6), os.lseek(fd, 0, 2)); os.close(fd)
        for bad in (lambda: open("missing"), lambda: os.mkdir("d"), lambda: os.rmdir("d"), lambda: open("d", "w")):
            try: bad()
            except OSError as error: print(type(error).__name__, error)
        """,
    ),
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
        "tempfile",
        """
        import os, tempfile
        with tempfile.TemporaryDirectory(dir=".") as d: open(os.path.join(d, "x"), "w").close(); print(os.listdir(d))
        print(os.path.exists(d))
        with tempfile.TemporaryFile() as f: f.write(b"t" * 100); f.seek(50); print(len(f.read()), os.fstat(f.fileno()).st_nlink)
        with tempfile.NamedTemporaryFile(dir=".", suffix=".z") as f: print(oct(os.stat(f.name).st_mode), f.name[-2:])
        """,
    ),
    python(
        "sqlite",
        """
        import sqlite3
        c = sqlite3.connect("x.db")
        c.execute("create table t(a integer primary key, b text)")
        with c: c.executemany("insert into t(b) values(?)", [(f"row {i}",) for i in range(200)])
        try:
            with c: c.execute("delete from t"); raise RuntimeError
        except RuntimeError: pass
        print(c.execute("select count(*), max(b), sum(a) from t").fetchone())
        print(c.execute("pragma journal_mode=wal").fetchone(), c.execute("pragma integrity_check").fetchone())
        c.execute("insert into t values(999, 'wal')"); c.commit(); d = sqlite3.connect("x.db"); print(d.execute("select b from t where a=999").fetchone())
        c.execute("begin immediate")
        try: sqlite3.connect("x.db", timeout=0.1).execute("begin immediate")
        except sqlite3.OperationalError as error: print(error)
        """,
    ),
    python(
        "hashlib",
        """
        import hashlib, hmac, zlib, binascii
        data = bytes(range(256)) * 400
        for name in ("md5", "sha1", "sha256", "sha3_256", "blake2b"): print(name, hashlib.new(name, data).hexdigest()[:32])
        print(hmac.new(b"k", data, "sha256").hexdigest()[:16], hex(zlib.crc32(data)), binascii.crc_hqx(data, 0), hashlib.pbkdf2_hmac("sha1", b"p", b"s", 200).hex())
        """,
    ),
    python(
        "compression",
        """
        import bz2, gzip, io, lzma, tarfile, zipfile, zlib
        data = b"".join(b"line %d\\n" % (i % 97) for i in range(4000))
        for m in (zlib, bz2, lzma): print(m.__name__, m.decompress(m.compress(data)) == data)
        print(len(zlib.compress(data, 9)), gzip.decompress(gzip.compress(data)) == data)
        with tarfile.open("t.tar", "w") as t: i = tarfile.TarInfo("a/b"); i.size = len(data); t.addfile(i, io.BytesIO(data))
        with tarfile.open("t.tar") as t: t.extractall("x"); print(t.getnames(), open("x/a/b", "rb").read() == data)
        with zipfile.ZipFile("z.zip", "w", zipfile.ZIP_DEFLATED) as z: z.writestr("n", data)
        with zipfile.ZipFile("z.zip") as z: print(z.namelist(), z.testzip(), z.read("n") == data)
        """,
    ),
    python(
        "data",
        """
        import array, collections, csv, decimal, fractions, io, itertools, json, pickle, random, re, statistics, struct, textwrap
        print(json.dumps(json.loads('{"a": [1, 2.5e3, null, "\\\\u00e9"]}'), sort_keys=True))
        print(struct.unpack("<IhQ", struct.pack("<IhQ", 1, -2, 2**63)), array.array("d", [1.5, 2]).tobytes().hex())
        print(list(csv.DictReader(io.StringIO("a,b\\n1,2\\n"))), collections.Counter("biscuit").most_common(2))
        random.seed(5); print([random.randint(0, 99) for _ in range(5)], random.gauss(0, 1))
        print(decimal.Decimal(1) / 7, fractions.Fraction(3, 9), statistics.stdev([1, 2, 4]), re.findall(r"(\\w)(\\d+)", "a1 b22"))
        print(pickle.loads(pickle.dumps({1: (2, [3])})), list(itertools.permutations("abc"))[3], textwrap.fill("a b c d e", 5))
        """,
    ),
    python(
        "float-maths",
        """
        import cmath, math
        for f in ("sin", "cos", "tan", "exp", "log", "sqrt", "atan", "gamma", "erf", "cbrt"): print(f, getattr(math, f)(0.7).hex())
        print(math.fsum([0.1] * 10), 0.1 + 0.2, 1e308 * 10, -0.0, cmath.sqrt(-2), float("nan"), round(2.5), 7 // -2, -7 % 3, 1e16 + 1)
        print(int(1e22), 10 ** 25 // 7, math.isqrt(10 ** 40), pow(3, 1000, 10 ** 9 + 7), (0.1).as_integer_ratio())
        try: 1 / 0
        except ZeroDivisionError as error: print(error)
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
        signal.setitimer(signal.ITIMER_REAL, 0); print(seen.count("alarm") > 3)
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
        "ctypes",
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.getpid() == os.getpid(), libc.strlen(b"biscuit"), libc.open(b"missing", 0), os.strerror(ctypes.get_errno()))
        numbers = (ctypes.c_int * 5)(3, 1, 2, 5, 4); compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
        libc.qsort(numbers, 5, 4, compare(lambda a, b: a[0] - b[0])); print(list(numbers))
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
        "recursion",
        """
        import sys
        sys.setrecursionlimit(5000)
        def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
        print(depth(3000))
        try: depth(10000)
        except RecursionError as error: print(error)
        """,
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
    python(
        "inotify-free-walk",
        """
        import os
        for i in range(150): os.makedirs(f"t/{i % 7}/{i}"); open(f"t/{i % 7}/{i}/f", "w").write(str(i))
        print(sum(len(f) for _, _, f in os.walk("t")), sum(int(open(os.path.join(d, "f")).read()) for d, _, f in os.walk("t") if f))
        """,
    ),
    python(
        "sort-big",
        """
        import random
        random.seed(1); xs = [random.random() for _ in range(60000)]; xs.sort(); print(xs[0], xs[-1], sum(xs))
        """,
        slow=True,
    ),
    python(
        "unittest",
        """
        import unittest
        class T(unittest.TestCase):
            def test_a(self): self.assertEqual(1 + 1, 2)
            def test_b(self): self.assertRaises(KeyError, {}.__getitem__, 1)
        result = unittest.TextTestRunner(stream=open("/dev/null", "w")).run(unittest.defaultTestLoader.loadTestsFromTestCase(T)); print(result)
        """,
    ),
)
