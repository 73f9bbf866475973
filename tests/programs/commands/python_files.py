"""What the file system promises beyond names and bytes, asked by CPython through ctypes."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.commands.python import python

SET_ID = """
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

COMMANDS = (python("set-id", SET_ID),)
