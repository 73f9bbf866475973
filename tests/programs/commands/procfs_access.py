"""Who may do what in /proc, and what cannot have extended attributes."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.commands.python import python

COMMANDS = (
    python(
        "proc-access",
        """
        import ctypes, errno, os, signal
        libc = ctypes.CDLL(None, use_errno=True)
        child = os.fork()
        if child == 0: signal.pause()
        def access(path, mode, flags):
            result = libc.syscall(439, -100, path.encode(), mode, flags)
            return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
        def table(who):
            print(who)
            for name in ("self/environ", "self/status", "self/exe", "self/cwd", "self/fd", "self/nope", f"{child}/environ", f"{child}/exe", f"{child}/cwd", f"{child}/status", "version", "sys/kernel/hostname", "self"):
                print(name.replace(str(child), "CHILD"), [access("/proc/" + name, mode, flags) for mode in (0, 4, 2, 1) for flags in (0, 0x100, 0x200)], flush=True)
        table("root")
        if os.fork() == 0:
            os.setresgid(65534, 65534, 65534); os.setresuid(0, 65534, 0); table("acting for nobody"); os._exit(0)
        os.wait()
        if os.fork() == 0:
            os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); table("nobody"); os._exit(0)
        os.wait(); os.kill(child, 9); os.wait()
        """,
    ),
    python(
        "attributes-of-nothing",
        """
        import errno, os, select
        def tell(f, *a, **k):
            try: return f(*a, **k)
            except OSError as e: return errno.errorcode[e.errno]
        for path in ("/proc/self/status", "/proc", "/proc/version", "/proc/self/fd"):
            print(path, tell(os.listxattr, path), tell(os.listxattr, path, follow_symlinks=False), tell(os.getxattr, path, "user.a"), tell(os.setxattr, path, "user.a", b"1"), tell(os.removexattr, path, "user.a"))
        print(tell(os.listxattr, "/proc/self"), tell(os.listxattr, "/proc/self/exe"), tell(os.listxattr, "/proc/self/exe", follow_symlinks=False))
        for name, fd in (("proc", os.open("/proc/self/status", 0)), ("pipe", os.pipe()[0]), ("event", os.eventfd(0)), ("epoll", select.epoll().fileno())):
            print(name, tell(os.listxattr, fd), tell(os.getxattr, fd, "user.a"), tell(os.setxattr, fd, "user.a", b"1"), tell(os.removexattr, fd, "user.a"), tell(os.getxattr, fd, "other.a"))
        """,
    ),
    python(
        "packet-mode",
        """
        import fcntl, os, pty, select, struct, termios, time, tty
        master, slave = pty.openpty()
        def switch(on): fcntl.ioctl(master, 0x5420, struct.pack("i", on))
        def is_on(): return struct.unpack("i", fcntl.ioctl(master, 0x80045438, struct.pack("i", 9)))[0]
        def ready():
            time.sleep(0.1); poll = select.poll(); poll.register(master, select.POLLIN | select.POLLPRI); found = poll.poll(0)
            return found[0][1] if found else 0
        def read(count=100):
            time.sleep(0.1); os.set_blocking(master, False)
            try: return os.read(master, count)
            except OSError as error: return error.errno
        def tell(what): print(what, ready(), read(), flush=True)
        def write(fd, data): os.set_blocking(master, True); os.write(fd, data)
        print(is_on()); switch(1); print(is_on()); tell("nothing")
        write(slave, b"hello\\n"); tell("data")
        write(slave, b"abcdef"); print(read(1), read(3), read())
        write(master, b"x"); tell("echo")
        for name in ("TCIFLUSH", "TCOFLUSH", "TCIOFLUSH"): termios.tcflush(slave, getattr(termios, name)); tell(name)
        write(master, b"\\x13"); tell("stop"); write(master, b"\\x11"); tell("start")
        termios.tcflow(slave, termios.TCOOFF); tell("off"); termios.tcflow(slave, termios.TCOON); tell("on")
        a = termios.tcgetattr(slave)
        a[0] &= ~termios.IXON; termios.tcsetattr(slave, termios.TCSANOW, a); tell("no flow")
        a[0] |= termios.IXON; termios.tcsetattr(slave, termios.TCSANOW, a); tell("flow")
        a[6][termios.VSTOP] = b"\\x01"; termios.tcsetattr(slave, termios.TCSANOW, a); tell("another key")
        tty.setraw(slave); tell("raw"); tell("nothing")
        write(slave, b"q"); switch(0); print(read()); termios.tcflush(slave, termios.TCIFLUSH); print(ready()); switch(1); tell("nothing")
        try: fcntl.ioctl(slave, 0x5420, struct.pack("i", 1))
        except OSError as error: print("slave", error.errno)
        """,
    ),
)
