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
