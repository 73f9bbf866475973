"""What the file system promises beyond names and bytes, asked by CPython through ctypes."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.commands.python import python

SET_ID = r"""
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, offset, length): raise OSError(ctypes.get_errno(), "fallocate")
def shared(fd):
    m = mmap.mmap(fd, 4096); m[0] = 7; m.flush(); m.close()
ACTS = {
    "write": lambda fd, p: os.write(fd, b"x"),
    "nothing": lambda fd, p: os.write(fd, b""),
    "pwrite": lambda fd, p: os.pwrite(fd, b"x", 5),
    "writev": lambda fd, p: os.writev(fd, [b"x", b"y"]),
    "ftruncate": lambda fd, p: os.ftruncate(fd, 3),
    "same-size": lambda fd, p: os.ftruncate(fd, 5000),
    "truncate": lambda fd, p: os.truncate(p, 3),
    "o_trunc": lambda fd, p: os.close(os.open(p, os.O_WRONLY | os.O_TRUNC)),
    "allocate": lambda fd, p: fallocate(fd, 0, 0, 20000),
    "keep": lambda fd, p: fallocate(fd, 1, 0, 20000),
    "punch": lambda fd, p: fallocate(fd, 3, 0, 4096),
    "zero": lambda fd, p: fallocate(fd, 16, 0, 4096),
    "refused": lambda fd, p: fallocate(fd, 0x1000, 0, 4096),
    "mmap": lambda fd, p: shared(fd),
    "copy": lambda fd, p: os.copy_file_range(fd, fd, 100, 0, 4000),
    "sendfile": lambda fd, p: os.sendfile(fd, os.open("/etc/passwd", 0), 0, 10),
    "chgrp": lambda fd, p: os.chown(p, -1, GROUP),
    "chown": lambda fd, p: os.chown(p, -1, -1),
    "chmod": lambda fd, p: os.chmod(p, 0o6777),
    "utime": lambda fd, p: os.utime(p),
}
GROUP = 1000
root = os.geteuid() == 0
os.chmod(".", 0o777)
def become(uid, groups, do):
    pid = os.fork()
    if pid == 0:
        try:
            if root and uid: os.setgroups(groups); os.setgid(1000); os.setuid(uid)
            do()
            os._exit(0)
        except OSError as e: os._exit(e.errno)
    return os.waitstatus_to_exitcode(os.wait()[1])
for uid, groups, mode in ((0, [], 0o6777), (1000, [], 0o6777), (1000, [], 0o6766), (1000, [50], 0o6766)):
    for name, act in ACTS.items():
        with open("f", "wb") as f: f.write(bytes(5000))
        if root: os.chown("f", uid, 50)
        os.chmod("f", mode)
        status = become(uid, groups, lambda: act(os.open("f", os.O_RDWR), "f"))
        print(uid, groups, f"{mode:o}", name, status, f"{os.stat('f').st_mode:o}")
        os.unlink("f")
for mode in (0o4755, 0o2755, 0o2745, 0o755) if root else ():
    with open("f", "wb"): pass
    os.chown("f", 1001, 50); os.chmod("f", mode)
    print(f"{mode:o}", become(1000, [50], lambda: os.chown("f", -1, -1)), f"{os.stat('f').st_mode:o}")
"""

TEXT_BUSY = r"""
import os, shutil, subprocess, time
def tell(what, do):
    try: r = do()
    except OSError as e: r = e.strerror
    print(what, r)
def opened(flags, path="prog"): os.close(os.open(path, flags)); return "ok"
def run(argv, **more): return subprocess.run(argv, **more).returncode
def start(argv):
    p = subprocess.Popen(argv, stdout=subprocess.PIPE); p.stdout.readline(); return p
def end(p): p.kill(); p.wait(); p.stdout.close()
shutil.copy("/bin/sh", "prog"); os.link("prog", "alias")
quick, slow = ["./prog", "-c", "exit 3"], ["./prog", "-c", "echo; read x < fifo; exit 3"]
os.mkfifo("fifo")
for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_PATH | 1):
    fd = os.open("alias", flags); tell(("exec of an open file", flags), lambda: run(quick))
    other = os.dup(fd); os.close(fd); tell("and of a duplicate", lambda: run(quick)); os.close(other)
tell("exec of a closed file", lambda: run(quick))
fd = os.open("prog", os.O_WRONLY); pid = os.fork()
if pid == 0: time.sleep(60)
os.close(fd); tell("a child has it open", lambda: run(quick)); os.kill(pid, 9); os.wait()
tell("the child is gone", lambda: run(quick))
p = start(slow)
for name, flags in {"r": 0, "w": 1, "rw": 2, "append": os.O_APPEND | 1, "trunc": os.O_TRUNC, "wtrunc": os.O_TRUNC | 1, "creat": os.O_CREAT | 1, "path": os.O_PATH | 1, "creat-r": os.O_CREAT, "excl": os.O_CREAT | os.O_EXCL | 1}.items():
    tell(name, lambda: opened(flags))
tell("alias", lambda: opened(1, "alias")); tell("truncate", lambda: os.truncate("prog", 5)); tell("access", lambda: os.access("prog", os.W_OK))
tell("exe", lambda: opened(1, f"/proc/{p.pid}/exe")); tell("chmod", lambda: os.chmod("prog", 0o700)); tell("utime", lambda: os.utime("prog"))
tell("copy onto", lambda: shutil.copyfile("/bin/true", "prog"))
q = start(slow); end(p); tell("another runs", lambda: opened(1, "alias"))
os.rename("prog", "moved"); tell("renamed", lambda: opened(1, "moved")); os.unlink("moved"); tell("unlinked", lambda: opened(1, "alias"))
end(q); tell("none runs", lambda: opened(1, "alias"))
os.rename("alias", "prog")
p = start(["./prog", "-c", "echo; exec cat fifo"]); time.sleep(0.2); tell("left by exec", lambda: opened(1)); end(p)
p = start(["./prog", "-c", "(read x < fifo) & echo; exec cat fifo"]); time.sleep(0.2); tell("kept by a fork", lambda: opened(1))
with open("fifo", "w") as f: f.write("x")
end(p); time.sleep(0.2); tell("the fork is gone", lambda: opened(1))
with open("script", "w") as f: f.write("#!./prog\necho; read x < fifo")
os.chmod("script", 0o755)
p = start(["./script"]); tell("a script runs", lambda: opened(1, "script")); tell("its interpreter", lambda: opened(1)); end(p)
for name in ("script", "prog"):
    fd = os.open(name, 1); tell(("open for writing", name), lambda: run(["./script"])); os.close(fd)
fd = os.memfd_create("m", 0); os.write(fd, open("/bin/true", "rb").read()); path = f"/proc/self/fd/{fd}"
tell("memfd", lambda: run([path], pass_fds=[fd]))
again = os.open(path, os.O_RDWR); tell("memfd opened again", lambda: run([path], pass_fds=[fd])); os.close(again)
tell("memfd closed", lambda: run([path], pass_fds=[fd])); tell("memfd written", lambda: os.write(fd, b"x"))
fd = os.open("prog", os.O_WRONLY); os.unlink("prog"); os.close(fd)
"""

INOTIFY = r"""
import ctypes, mmap, os, shutil, struct, subprocess
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
BITS = {1: "ACCESS", 2: "MODIFY", 4: "ATTRIB", 8: "CLOSE_WRITE", 16: "CLOSE_NOWRITE", 32: "OPEN", 64: "MOVED_FROM", 128: "MOVED_TO", 256: "CREATE", 512: "DELETE", 1024: "DELETE_SELF", 2048: "MOVE_SELF", 0x2000: "UNMOUNT", 0x4000: "OVERFLOW", 0x8000: "IGNORED", 1 << 30: "ISDIR"}
ALL, EXCL_UNLINK, MASK_CREATE, MASK_ADD, ONLYDIR, DONT_FOLLOW, ONESHOT = 0xFFF, 1 << 26, 1 << 28, 1 << 29, 1 << 24, 1 << 25, 1 << 31
queue = libc.inotify_init1(os.O_NONBLOCK)
watches, cookies = {}, {}
def add(path, mask=ALL):
    wd = libc.inotify_add_watch(queue, path.encode(), mask)
    if wd < 0: print("add", path, hex(mask), os.strerror(ctypes.get_errno()))
    else: watches[wd] = path
    return wd
def drain():
    events = []
    while True:
        try: data = os.read(queue, 65536)
        except BlockingIOError: return events
        while data:
            wd, mask, cookie, n = struct.unpack_from("iIII", data)
            name, data = data[16:16 + n].rstrip(b"\0").decode(), data[16 + n:]
            tie = cookies.setdefault(cookie, len(cookies)) if cookie else ""
            events.append(f"{watches[wd]}:{'|'.join(v for k, v in BITS.items() if mask & k)}:{name} {tie} {n}")
def do(what, act):
    try: r = act()
    except OSError as e: r = e.strerror
    print("**", what, r if isinstance(r, (str, int, bytes)) else "")
    for event in drain(): print("    ", event)
def opn(path, flags):
    global F
    F = os.open(path, flags)
def cls(): os.close(F)
os.mkdir("d"); open("d/f", "w").write("hello" * 100); os.mkdir("d/sub"); os.mkdir("e"); os.link("d/f", "e/hard")
add("d"); add("d/f"); add("d/sub"); add("e")
do("open", lambda: opn("d/f", 0)); do("read", lambda: os.read(F, 10)); do("pread", lambda: os.pread(F, 10, 0)); do("readv", lambda: os.readv(F, [bytearray(5)]))
do("at the end", lambda: os.pread(F, 10, 10000)); do("nothing", lambda: os.read(F, 0)); do("fstat", lambda: os.fstat(F).st_size); do("lseek", lambda: os.lseek(F, 0, 0)); do("a duplicate", lambda: os.close(os.dup(F))); do("close", cls)
do("open to write", lambda: opn("d/f", 1)); do("write", lambda: os.write(F, b"x")); do("pwrite", lambda: os.pwrite(F, b"x", 3)); do("nothing", lambda: os.write(F, b"")); do("writev", lambda: os.writev(F, [b"a", b"b"]))
do("ftruncate", lambda: os.ftruncate(F, 100)); do("the same", lambda: os.ftruncate(F, 100)); do("fchmod", lambda: os.fchmod(F, 0o600)); do("fsync", lambda: os.fsync(F)); do("close", cls)
for flags in (2, 1 | os.O_TRUNC, 1 | os.O_TRUNC, os.O_PATH): do(("open", flags), lambda: opn("d/f", flags)); do("close", cls)
do("excl", lambda: opn("d/f", 1 | os.O_CREAT | os.O_EXCL))
do("by the other name", lambda: opn("e/hard", 2)); do("write", lambda: os.write(F, b"hard" * 2000)); do("fchmod", lambda: os.fchmod(F, 0o644)); do("close", cls)
do("truncate", lambda: os.truncate("d/f", 50)); do("chmod", lambda: os.chmod("d/f", 0o644)); do("chown", lambda: os.chown("d/f", -1, -1)); do("chown to itself", lambda: os.chown("d/f", os.getuid(), -1)); do("stat", lambda: os.stat("d/f").st_size); do("access", lambda: os.access("d/f", 4))
do("utime", lambda: os.utime("d/f")); do("utime", lambda: os.utime("d/f", ns=(5, 6)))
def utimensat(a, b): return libc.utimensat(-100, b"d/f", (ctypes.c_long * 4)(1, a, 1, b), 0)
OMIT = (1 << 30) - 2
do("atime", lambda: utimensat(1, OMIT)); do("mtime", lambda: utimensat(OMIT, 1)); do("neither", lambda: utimensat(OMIT, OMIT))
do("setxattr", lambda: os.setxattr("d/f", "user.x", b"1")); do("getxattr", lambda: os.getxattr("d/f", "user.x")); do("removexattr", lambda: os.removexattr("d/f", "user.x"))
opn("d/f", 2); drain()
do("fallocate", lambda: libc.fallocate(F, 0, 0, 10000)); do("punch", lambda: libc.fallocate(F, 3, 0, 4096)); m = mmap.mmap(F, 4096); drain()
do("store", lambda: m.__setitem__(0, 65)); do("msync", lambda: m.flush()); do("munmap", lambda: m.close()); do("close", cls)
a, b = os.open("d/f", 0), os.open("d/out", 1 | os.O_CREAT); drain()
do("sendfile", lambda: os.sendfile(b, a, 0, 10)); do("copy_file_range", lambda: os.copy_file_range(a, b, 10)); os.close(a); os.close(b); drain()
do("create", lambda: opn("d/new", os.O_CREAT | 1)); do("close", cls); do("create again", lambda: opn("d/new", os.O_CREAT | 1)); do("close", cls)
do("mkdir", lambda: os.mkdir("d/nd")); do("rmdir", lambda: os.rmdir("d/nd")); do("mkfifo", lambda: os.mkfifo("d/fifo")); do("symlink", lambda: os.symlink("f", "d/ln")); do("readlink", lambda: os.readlink("d/ln")); do("open", lambda: opn("d/ln", 0)); do("close", cls); do("unlink", lambda: os.unlink("d/ln"))
do("link", lambda: os.link("d/f", "d/hard2")); do("unlink", lambda: os.unlink("d/hard2")); do("link", lambda: os.link("d/new", "e/new2"))
do("fifo", lambda: opn("d/fifo", 2)); do("write", lambda: os.write(F, b"abc")); do("read", lambda: os.read(F, 3)); do("close", cls)
for old, new in (("d/new", "d/newer"), ("d/newer", "e/newer"), ("d/sub", "d/sub2"), ("d/sub2", "e/sub3"), ("e/newer", "d/out"), ("d/out", "d/out"), ("e/hard", "d/f")): do(("rename", old, new), lambda: os.rename(old, new))
for flags in (2, 2, 1): do(("renameat2", flags), lambda: libc.renameat2(-100, b"d/f", -100, b"e/new2", flags))
do("listdir", lambda: str(sorted(os.listdir("d")))); do("open a directory", lambda: opn("d", 0)); do("close", cls); do("chmod", lambda: os.chmod("d", 0o755)); do("utime", lambda: os.utime("e/sub3"))
opn("d/f", 0); drain(); do("unlink while open", lambda: os.unlink("d/f")); do("read", lambda: os.read(F, 5)); do("fchmod", lambda: os.fchmod(F, 0o600)); do("close", cls); do("unlink the last", lambda: os.unlink("e/hard")); do("rmdir", lambda: os.rmdir("e/sub3"))
open("d/over", "w"); open("d/under", "w"); add("d/over"); add("d/under"); drain(); do("rename over", lambda: os.rename("d/over", "d/under"))
open("e/linked", "w"); add("e/linked", 2 | 8 | ONESHOT); drain(); do("oneshot", lambda: open("e/linked", "a").write("x")); do("again", lambda: open("e/linked", "a").write("x"))
w = add("e", 256); do("only CREATE", lambda: opn("e/one", os.O_CREAT | 1)); cls(); print(w == add("e", 512 | MASK_ADD)); do("and DELETE", lambda: os.unlink("e/one"))
add("e", 2 | MASK_CREATE); add("e/linked", 2 | ONLYDIR); add("nowhere"); add("e", 0); add("e", ONLYDIR)
os.symlink("linked", "e/sl"); add("e/sl", 4 | DONT_FOLLOW); do("the link", lambda: os.utime("e/sl", follow_symlinks=False)); do("not its target", lambda: os.utime("e/sl"))
add("d", ALL | EXCL_UNLINK); opn("d/out", 1); os.unlink("d/out"); drain(); do("write", lambda: os.write(F, b"x")); do("close", cls)
do("rm_watch", lambda: libc.inotify_rm_watch(queue, w)); do("rm_watch", lambda: libc.inotify_rm_watch(queue, 9999))
opn("d/x0", 1 | os.O_CREAT); drain(); do("writes merge", lambda: [os.write(F, b"x") for i in range(5)]); do("close", cls)
subprocess.run("echo hi > d/x1; cat d/x1 >/dev/null; mv d/x1 d/x2; touch d/x2; rm d/x2; ln -s a d/l; rm -r d/l", shell=True); do("a shell", lambda: 0)
for name in sorted(os.listdir("d")): os.unlink(f"d/{name}")
do("unlinked", lambda: 0); do("rmdir", lambda: os.rmdir("d"))
"""

TEXT_REWRITTEN = r"""
import os, subprocess
def word(value, size): return value.to_bytes(size, "little")
def program(status):
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + word(2, 2) + word(62, 2) + word(1, 4) + word(0x400078, 8) + word(64, 8)
    header += bytes(12) + word(64, 2) + word(56, 2) + word(1, 2) + bytes(6)
    header += word(1, 4) + word(5, 4) + bytes(8) + 2 * word(0x400000, 8) + 3 * word(4096, 8)
    return (header + b"\xb8\x3c\0\0\0\xbf" + word(status, 4) + b"\x0f\x05").ljust(4096, b"\0")
open("p", "wb").write(program(0)); os.chmod("p", 0o755)
def run(): return subprocess.run(["./p"]).returncode
said = [run()]
for n in range(1, 60):
    if n % 3 == 0:
        with open("p", "r+b") as f: f.seek(0x78 + 6); f.write(word(n, 4))
    elif n % 3 == 1:
        with open("p", "wb") as f: f.write(program(n))
    else:
        with open("new", "wb") as f: f.write(program(n))
        os.chmod("new", 0o755); os.rename("new", "p")
    said.append(run())
print(said)
"""

COPY_RANGE = r"""
import os
def tell(name, do):
    try: print(name, do())
    except OSError as error: print(name, error.errno)
open("from", "wb").write(bytes(range(200)))
a, b, m = os.open("from", os.O_RDWR), os.open("to", os.O_RDWR | os.O_CREAT), os.memfd_create("m")
os.write(m, b"memory")
copy = os.copy_file_range
tell("files", lambda: copy(a, b, 100, 50, 7))
tell("itself, apart", lambda: copy(a, a, 50, 0, 100))
tell("itself, meeting", lambda: copy(a, a, 50, 0, 49))
tell("to memory", lambda: copy(a, m, 5, 0, 0))
tell("from memory", lambda: copy(m, b, 5, 0, 0))
tell("memory to itself", lambda: copy(m, m, 3, 0, 3))
tell("too far, elsewhere", lambda: copy(a, m, 5, 0, (1 << 63) - 2))
tell("a directory", lambda: copy(os.open(".", 0), b, 5))
tell("a pipe", lambda: copy(os.pipe()[0], b, 5))
print(open("to", "rb").read(), len(open("from", "rb").read()))
"""

COMMANDS = (
    python("set-id", SET_ID),
    python("text-busy", TEXT_BUSY),
    python("text-rewritten", TEXT_REWRITTEN),
    python("inotify", INOTIFY),
    python("copy-range", COPY_RANGE),
)
