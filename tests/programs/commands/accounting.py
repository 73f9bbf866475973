"""What programs are told of the time and the memory that they have used, as facts that always hold."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import run, script
from tests.programs.commands.python import python

COMMANDS = (
    python(
        "usage-split",
        """
        import os, resource, time
        def used(): r = resource.getrusage(resource.RUSAGE_SELF); return r.ru_utime, r.ru_stime
        def spend(work):
            u, s = used(); work(); v, t = used(); return v - u, t - s
        def compute():
            end = time.process_time() + 0.6
            while time.process_time() < end: sum(range(20000))
        fd = os.open("/dev/zero", os.O_RDONLY)
        def read():
            end = time.process_time() + 0.6
            while time.process_time() < end:
                for i in range(40): os.pread(fd, 4 << 20, 0)
        u, s = spend(compute); print(u > 4 * s, 0.5 < u + s < 0.8)
        u, s = spend(read); print(s > u, 0.5 < u + s)
        u, s = spend(lambda: time.sleep(0.5)); print(u + s < 0.1)
        """,
    ),
    python(
        "usage-children",
        """
        import os, resource, time
        def children(): r = resource.getrusage(resource.RUSAGE_CHILDREN); return r.ru_utime + r.ru_stime
        def burn(seconds):
            end = time.process_time() + seconds
            while time.process_time() < end: pass
        print(children(), os.times()[2:4])
        if os.fork() == 0:
            if os.fork() == 0: burn(0.3); os._exit(0)
            os.wait(); burn(0.2); os._exit(0)
        pid, status, usage = os.wait4(-1, 0)
        print(0.5 <= usage.ru_utime + usage.ru_stime < 1, 0.5 <= children() < 1, usage.ru_maxrss > 1000)
        t = os.times(); print(0.48 <= t.children_user + t.children_system < 1)
        if os.fork() == 0: burn(0.2); os._exit(0)
        before = children(); os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT); print(children() == before)
        os.wait(); print(0.2 <= children() - before < 0.6)
        stat = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
        print(68 <= int(stat[13]) + int(stat[14]) < 160)
        """,
    ),
    python(
        "usage-threads",
        """
        import resource, threading, time
        def burn(seconds):
            end = time.thread_time() + seconds
            while time.thread_time() < end: pass
            r = resource.getrusage(resource.RUSAGE_THREAD); own.append(r.ru_utime + r.ru_stime)
        own = []
        a, b = threading.Thread(target=burn, args=(0.2,)), threading.Thread(target=burn, args=(0.7,))
        a.start(); b.start(); clock = time.pthread_getcpuclockid(b.ident); time.sleep(0.02); seen = time.clock_gettime(clock); a.join(); b.join()
        print(0.2 <= min(own) < 0.6, 0.7 <= max(own) < 1.1, 0 < seen < 0.7)
        print(0.9 <= time.process_time(), time.thread_time() < time.process_time())
        """,
    ),
    python(
        "usage-memory",
        """
        import resource
        def peak(): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
        before, faults = peak(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = b"x" * (64 << 20); print(peak() - before >= 60000)
        rusage = resource.getrusage(resource.RUSAGE_SELF)
        print(rusage.ru_maxrss >= peak() - 2000, rusage.ru_minflt > faults)
        """,
    ),
    python(
        "usage-switches",
        """
        import resource, time
        def waits(): return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        before = waits()
        for i in range(10): time.sleep(0.01)
        print(10 <= waits() - before <= 15)
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(int(status["voluntary_ctxt_switches"]) >= 10, "nonvoluntary_ctxt_switches" in status)
        ctxt = lambda: next(int(line.split()[1]) for line in open("/proc/stat") if line.startswith("ctxt"))
        before = ctxt(); time.sleep(0.02); print(ctxt() > before)
        """,
    ),
    python(
        "itimers-of-cpu",
        """
        import signal, time
        def count(timer, number):
            ticks = []
            signal.signal(number, lambda *a: ticks.append(time.process_time()))
            start = time.process_time(); signal.setitimer(timer, 0.1, 0.1)
            time.sleep(0.3); early = len(ticks)
            while len(ticks) < 4: pass
            left, interval = signal.setitimer(timer, 0)
            print(early, 0.3 < time.process_time() - start < 1.5, 0 < left <= 0.1, interval)
        count(signal.ITIMER_PROF, signal.SIGPROF)
        count(signal.ITIMER_VIRTUAL, signal.SIGVTALRM)
        """,
    ),
    python(
        "itimer-waits-for-its-signal",
        """
        import signal, time
        got = []
        signal.signal(signal.SIGALRM, lambda *a: got.append(1))
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        signal.setitimer(signal.ITIMER_REAL, 0.01, 2.0); time.sleep(0.2)
        print(signal.getitimer(signal.ITIMER_REAL), signal.sigpending() == {signal.SIGALRM})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM]); print(len(got), 1 < signal.getitimer(signal.ITIMER_REAL)[0] <= 2)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        end = time.monotonic() + 0.5
        while time.monotonic() < end: pass
        signal.setitimer(signal.ITIMER_REAL, 0); print(len(got) > 9)
        """,
    ),
    python(
        "cpu-limit",
        """
        import os, resource, signal, time
        def burn():
            while True: pass
        def told(*a): print("told at", round(time.process_time()), resource.getrlimit(resource.RLIMIT_CPU), flush=True)
        if os.fork() == 0:
            signal.signal(signal.SIGXCPU, told); resource.setrlimit(resource.RLIMIT_CPU, (1, 3)); burn()
        print(os.wait()[1])
        if os.fork() == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (0, 5))
            if os.fork() == 0: burn()
            print(os.wait()[1], flush=True); burn()
        print(os.wait()[1])
        """,
        slow=True,
    ),
    script("shell-cpu-limit", "ulimit -t 1; while :; do :; done; echo never"),
    run("shell-times", "/bin/sh -c 'ulimit -t; ulimit -St 77; ulimit -t; ulimit -Ht'"),
)
