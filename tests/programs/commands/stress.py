"""Random operations on files with a fixed seed: what each answers, and the tree that they leave.

The program prints a digest of both, so the host and Hardtack must agree on everything. By hand,
`program.py SEED COUNT LOG` writes each operation and its outcome to LOG.
"""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import Command
from tests.programs.commands.python import PYTHON

STRESS = r"""
import ctypes, errno, hashlib, mmap, os, random, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
seed, count = int(sys.argv[1]), int(sys.argv[2])
log = open(sys.argv[3], "w") if len(sys.argv) > 3 else None  # to find by hand where two runs part
for where in ("dir0/sub", "dir1"): os.makedirs(where, exist_ok=True)
os.link("old1", "dir0/c"); os.symlink("old0", "dir1/a")
rnd = random.Random(seed)
digest = hashlib.sha256()
PAGE, LIMIT = 4096, 200_000
NAMES = ["a", "b", "c", "d", "e", "old0", "old1", "old2", "x" * 200]
slots = {}   # number: descriptor of a regular file, opened O_RDWR
maps = {}    # number: (mmap, length)
def note(*what):
    line = repr(what)
    digest.update(line.encode())
    if log: log.write(line + "\n"); log.flush()
def brief(data): return (len(data), hashlib.sha256(data).hexdigest()[:12])
asked = []
def name():
    asked.append(name_())
    return asked[-1]
def name_():
    depth = rnd.choice((0, 0, 0, 1, 1, 2))
    return "/".join([rnd.choice(("dir0", "dir1", "dir2", "sub")) for _ in range(depth)] + [rnd.choice(NAMES)])
def place():
    asked.append("/".join(rnd.choice(("dir0", "dir1", "dir2", "sub")) for _ in range(rnd.choice((1, 1, 2, 3)))))
    return asked[-1]
def span():
    offset = rnd.choice((0, rnd.randrange(PAGE), rnd.randrange(LIMIT), PAGE * rnd.randrange(40)))
    return offset, rnd.choice((1, rnd.randrange(1, 200), rnd.randrange(1, 20_000), PAGE * rnd.randrange(1, 6)))
def data(length): return rnd.randbytes(length)
def slot(): return rnd.randrange(5)
def any_open(): return rnd.choice(sorted(slots))
def any_map(): return rnd.choice(sorted(maps))
def fd(): return slots[any_open()]
def drop(number):
    if number in maps: maps.pop(number)[0].close()
    if number in slots: os.close(slots.pop(number))
def op_open():
    number, path = slot(), name()
    drop(number)
    flags = os.O_RDWR | rnd.choice((0, os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_CREAT | os.O_TRUNC, os.O_CREAT | os.O_APPEND, os.O_NOFOLLOW))
    opened = os.open(path, flags, 0o644)
    slots[number] = opened
    return os.fstat(opened).st_size
def op_close(): drop(slot())
def op_tmpfile():
    number = slot(); drop(number)
    slots[number] = os.open(rnd.choice((".", "dir0")), os.O_TMPFILE | os.O_RDWR, 0o600)
def op_write(): return os.write(fd(), data(span()[1]))
def op_pwrite(): offset, length = span(); return os.pwrite(fd(), data(length), offset)
def op_writev(): return os.writev(fd(), [data(span()[1]), data(3), data(span()[1])])
def op_read(): return brief(os.read(fd(), span()[1]))
def op_pread(): offset, length = span(); return brief(os.pread(fd(), length, offset))
def op_seek(): return os.lseek(fd(), rnd.choice((0, 5, rnd.randrange(LIMIT))), rnd.choice((0, 1, 2)))
def op_hole():
    opened, at, holes = fd(), 0, 0
    here = os.lseek(opened, 0, 1)
    whole = os.pread(opened, 1 << 20, 0)
    try:
        while at < len(whole):
            try: start = os.lseek(opened, at, os.SEEK_DATA)
            except OSError: start = len(whole)  # ENXIO: no data any more
            if any(whole[at:start]): return "data in a hole", at, start
            if start >= len(whole): break
            at = os.lseek(opened, start, os.SEEK_HOLE)
            if at <= start: return "no progress", start
        try: return os.lseek(opened, len(whole), os.SEEK_HOLE)
        except OSError as e: return e.errno
    finally: os.lseek(opened, here, 0)
def op_ftruncate(): return os.ftruncate(fd(), rnd.choice((0, span()[0], LIMIT, PAGE * rnd.randrange(20))))
def op_truncate(): return os.truncate(name(), span()[0])
def op_allocate():
    offset, length = span()
    if libc.fallocate(fd(), rnd.choice((0, 0, 1, 3, 3, 3, 16, 17, 2)), offset, length): raise OSError(ctypes.get_errno(), "")
def op_collapse():
    with open("collapsing", "w+b", 0) as f:
        f.write(data(rnd.randrange(LIMIT)))
        f.seek(rnd.randrange(LIMIT)); f.write(b"end")
        r = libc.fallocate(f.fileno(), 8, PAGE * rnd.randrange(10), PAGE * rnd.randrange(1, 5))
        said = ctypes.get_errno() if r else 0
        f.seek(0)
        os.unlink("collapsing")
        return said, brief(f.read())
def op_fstat(): s = os.fstat(fd()); return s.st_size, s.st_nlink, oct(s.st_mode)
def op_stat(): s = os.lstat(name()); return (s.st_size, s.st_nlink, oct(s.st_mode)) if not stat.S_ISDIR(s.st_mode) else (s.st_nlink, oct(s.st_mode))
def op_map():
    number = any_open()
    if number in maps: maps.pop(number)[0].close()
    size = os.fstat(slots[number]).st_size
    length = max(PAGE, (size + PAGE - 1) // PAGE * PAGE) + rnd.choice((0, 0, 3 * PAGE))
    opened = mmap.mmap(slots[number], 0 if not size else min(size, length), mmap.MAP_SHARED)
    maps[number] = opened, len(opened)
def reach(number): return min(maps[number][1], (os.fstat(slots[number]).st_size + PAGE - 1) // PAGE * PAGE)
def op_store():
    number = any_map(); m, end = maps[number][0], reach(number)
    at = rnd.randrange(end); piece = data(min(rnd.choice((1, 100, 9000)), end - at))
    m[at:at + len(piece)] = piece
    return at, len(piece)
def op_load():
    number = any_map(); m, end = maps[number][0], reach(number)
    at = rnd.randrange(end)
    size = os.fstat(slots[number]).st_size
    return brief(m[at:min(end, size)])
def op_flush(): return maps[any_map()][0].flush()
def op_private():
    number = any_open(); size = os.fstat(slots[number]).st_size
    with mmap.mmap(slots[number], size, mmap.MAP_PRIVATE) as m:
        m[size // 2] = 7
        before = brief(m[:])
        os.pwrite(slots[number], b"seen", max(size // 2 - 2, 0)) if size > 10 * PAGE else None
        return before, m[size // 2]
def op_fork():
    number = any_map(); m, end = maps[number][0], reach(number)
    at = rnd.randrange(end); piece = data(min(500, end - at)); size = os.fstat(slots[number]).st_size
    pid = os.fork()
    if pid == 0:
        m[at:at + len(piece)] = piece
        os.write(slots[number], b"child")
        os._exit(0)
    os.waitpid(pid, 0)
    return m[at:at + len(piece)] == piece or at + len(piece) > size, os.lseek(slots[number], 0, 1)
def op_copy(): return os.copy_file_range(fd(), fd(), span()[1], rnd.randrange(LIMIT), rnd.randrange(LIMIT))
def op_sendfile():
    out, source, offset, length = fd(), fd(), rnd.randrange(PAGE * 10), span()[1]
    if os.path.samestat(os.fstat(out), os.fstat(source)): return "same"  # overlapping ranges: nobody says what comes of them
    return os.sendfile(out, source, offset, length)
def op_rename(): os.rename(name(), name())
def op_rename_dir(): os.rename(place(), place())
def op_exchange():
    one, two = rnd.choice((name, place))(), rnd.choice((name, place))()
    if libc.renameat2(-100, one.encode(), -100, two.encode(), rnd.choice((1, 2, 2))): raise OSError(ctypes.get_errno(), "")
def op_link(): os.link(name(), name())
def op_link_fd():
    if libc.linkat(-100, f"/proc/self/fd/{fd()}".encode(), -100, name().encode(), 0x400): raise OSError(ctypes.get_errno(), "")
def op_unlink(): os.unlink(name())
def op_symlink(): os.symlink(rnd.choice((rnd.choice(NAMES), "dir0", "nowhere", "dir0/../" + rnd.choice(NAMES), ".")), name())
def op_readlink(): return os.readlink(name())
def op_mkdir(): os.mkdir(place())
def op_rmdir(): os.rmdir(place())
def op_list(): return sorted(os.listdir(rnd.choice((".", "dir0", "dir1", "dir2", place()))))
def op_chmod(): os.chmod(name(), rnd.choice((0o600, 0o644, 0o4755, 0o444)))
def op_utime(): os.utime(name(), ns=(5, rnd.randrange(10**9)))
def op_whole():
    with open(name(), "rb") as f: return brief(f.read())
def op_append():
    path, r = name(), os.pipe()
    pid = os.fork()
    flags = os.O_WRONLY | os.O_APPEND
    if pid == 0:
        try:
            mine = os.open(path, flags)
            for i in range(20): os.write(mine, b"child %04d\n" % i)
        except OSError: pass
        os._exit(0)
    start, problem = None, None
    try:
        start = os.stat(path).st_size
        mine = os.open(path, flags)
        for i in range(20): os.write(mine, b"owner %04d\n" % i)
        os.close(mine)
    except OSError as e: problem = e.errno
    os.waitpid(pid, 0); os.close(r[0]); os.close(r[1])
    if problem: return problem
    with open(path, "r+b") as f:  # in an order that is the same everywhere
        whole = f.read(); tail = whole[-40 * 11:]; f.seek(len(whole) - len(tail)); f.write(b"".join(sorted(tail[i:i + 11] for i in range(0, len(tail), 11))))
    return len(whole), len(set(tail[i:i + 11] for i in range(0, len(tail), 11)))
def op_readdir():
    where = "many%d" % rnd.randrange(3)
    try: os.mkdir(where)
    except FileExistsError: pass
    for i in range(60):
        try: open(f"{where}/keep{i}", "x").close()
        except FileExistsError: pass
    seen = []
    with os.scandir(where) as entries:
        for at, entry in enumerate(entries):
            seen.append(entry.name)
            if at % 7 == 0 and at < 50:
                open(f"{where}/new{at}", "w").close()
                try: os.unlink(f"{where}/gone{at}")
                except FileNotFoundError: pass
    for i in range(0, 60, 7): open(f"{where}/gone{i}", "w").close()
    kept = [n for n in seen if n.startswith("keep")]
    return len(kept), len(set(kept)), sorted(os.listdir(where))
OPS = [v for k, v in sorted(globals().items()) if k.startswith("op_")]
WEIGHTS = [{"op_open": 12, "op_pwrite": 8, "op_write": 5, "op_pread": 6, "op_store": 8, "op_load": 6, "op_map": 6, "op_rename": 4, "op_unlink": 3, "op_link": 3, "op_allocate": 6, "op_ftruncate": 4, "op_mkdir": 4, "op_rename_dir": 4, "op_readdir": 0.3, "op_append": 0.5, "op_fork": 0.7, "op_hole": 3}.get(v.__name__, 2) for v in OPS]
for turn in range(count):
    op = rnd.choices(OPS, WEIGHTS)[0]
    asked.clear()
    try: result = op()
    except OSError as e: result = errno.errorcode.get(e.errno, e.errno)
    except (KeyError, ValueError, IndexError) as e: result = type(e).__name__
    note(turn, op.__name__, *(a[:30] for a in asked), result)
for number in sorted(slots): note(number, brief(os.pread(slots[number], 1 << 20, 0)), os.fstat(slots[number]).st_nlink)
for number in list(slots): drop(number)
lines = []
for where, dirs, files in os.walk("."):
    dirs.sort()
    s = os.lstat(where)
    lines.append(f"{where} {s.st_mode:o} {s.st_nlink}")
    for n in sorted(files + [d for d in dirs if os.path.islink(where + "/" + d)]):
        p = f"{where}/{n}"; s = os.lstat(p)
        if n in ("program.py", "log"): continue
        if stat.S_ISLNK(s.st_mode): lines.append(f"{p} -> {os.readlink(p)}")
        else: lines.append(f"{p} {s.st_mode:o} {s.st_nlink} {s.st_size} {hashlib.sha256(open(p, 'rb').read()).hexdigest()[:16]}")
if log: log.write("\n".join(lines) + "\n")
print(seed, digest.hexdigest()[:20], len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20])
"""

OPERATIONS = 1200
FILES = {
    "program.py": STRESS.encode(),
    "old0": b"q" * 50_000,
    "old1": b"".join(b"%d\n" % n for n in range(20_000)),
    "old2": b"root:",
    "dir2/b": bytes(100_000),
}


def stress(seed: int, *, slow: bool = False) -> Command:
    """One seed's worth."""
    argv = (PYTHON, "-I", "-S", "-u", "program.py", str(seed), str(OPERATIONS))
    return Command(f"stress-{seed}", argv, (PYTHON,), files=FILES, slow=slow)


COMMANDS = tuple(stress(seed, slow=seed > 2) for seed in range(1, 13))
