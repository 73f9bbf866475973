"""Do signals, times and events print as strace prints them?"""

from __future__ import annotations

import struct

from .oracle import Arena, Call, check, check_abandoned, needs_strace

pytestmark = needs_strace

EINTR, EAGAIN, EINVAL, RESTART = -4, -11, -22, -516
WORD = (1 << 64) - 1
FULL = (WORD, WORD & ~0x100, (1 << 41) - 1, (1 << 42) - 1, 0x7FFFFFFF, 0, 2, 1 << 63)


def test_sets_name_what_they_hold_or_lack() -> None:
    arena = Arena()
    masks = [arena.words("Q", mask) for mask in FULL]
    for result in (0, EINVAL):
        check(arena, result, *[("rt_sigprocmask", 2, mask, mask, 8) for mask in masks],
              *[("rt_sigpending", masks[0], size) for size in (4, 8, 16)],
              *[("rt_sigsuspend", masks[0], size) for size in (4, 8, 16)],
              ("signalfd4", -1, masks[0], 8, 0x80800))  # fmt: skip


def test_actions() -> None:
    arena = Arena()
    rows = [(0, 0, 0, 0), (1, 0x14000000, 0x7F00, 2), (0x401000, 0x14000004, 0, WORD),
            (WORD, 1 << 40, 0, 1), (0x401000, 0xFC000007, 9, 0x1000)]  # fmt: skip
    for result in (0, EINVAL):
        for row in rows:
            action = arena.words("QQQQ", *row)
            check(arena, result, ("rt_sigaction", 2, action, action, 8),
                  ("rt_sigaction", 65, 0, action, 8))  # fmt: skip


def test_signal_information() -> None:
    arena = Arena()
    fields = struct.pack("<iIiiqq", 10, 1000, 9, 0, 5, 6) + bytes(80)
    codes = (1, 2, 3, 4, 5, 6, 7, 9, 77, 0, -1, -2, -3, -4, -5, -6, -60, -77, 128)
    for signal in (1, 2, 4, 5, 7, 8, 10, 11, 17, 29, 34, 70, 0):
        infos = [arena.put(struct.pack("<iiii", signal, 0, code, 0) + fields) for code in codes]
        check(arena, 0, *[("rt_sigqueueinfo", 1, 2, info) for info in infos])
    empty = arena.put(struct.pack("<iiii", 14, 2, 128, 0) + bytes(112))
    for result in (17, 64, 0, EAGAIN):
        check(arena, result, ("rt_sigtimedwait", empty, empty, empty, 8),
              ("rt_sigtimedwait", 0, 0, 0, 8), ("waitid", 1, 5, empty, 4, 0))  # fmt: skip


def test_stacks_and_timer_events() -> None:
    arena = Arena()
    stacks = [arena.words("QIiQ", 0x1000, bits, 0, 8192) for bits in (0, 1, 2, 1 << 31, 64)]
    events = [
        arena.words("QiiQQ32x", value, signal, kind, 7, 8)
        for value in (0, 1 << 32 | 5)
        for signal, kind in ((10, 0), (10, 1), (0, 2), (10, 4), (99, 0), (-1, 9))
    ]
    for result in (0, EINVAL):
        check(arena, result, *[("sigaltstack", stack, stack) for stack in stacks],
              *[("timer_create", 1, event, stacks[0]) for event in events],
              ("timer_settime", 3, 1, stacks[0], stacks[1]), ("kill", -5, 9), ("tgkill", 1, 2, 65),
              ("timerfd_settime", 3, 3, stacks[0], stacks[1]))  # fmt: skip


def test_sleeping_shows_what_is_left_if_it_is_interrupted() -> None:
    arena = Arena()
    time = arena.words("qQqQ", 1, 2, 3, 4)
    for result in (0, EINTR, EINVAL, -512, -513, -514, RESTART):
        check(arena, result, ("nanosleep", time, time), ("clock_nanosleep", 0, 0, time, time),
              ("clock_nanosleep", 1, 1, time, time), ("clock_gettime", -6, time), ("time", time),
              ("gettimeofday", time, time), ("setitimer", 1, time, time),
              ("times", time))  # fmt: skip


def test_polling() -> None:
    arena = Arena()
    rows = [(3, 1, 1), (-1, 5, 0), (5, 4, 0x10), (6, 0xFFFF, 0x4000)]
    some = arena.put(b"".join([struct.pack("<iHH", *row) for row in rows]))
    many = arena.put(b"".join([struct.pack("<iHH", fd, 1, 0x3FF) for fd in range(40)]))
    time, mask = arena.words("qQ", 1, 2), arena.words("Q", 1)
    for result in (0, 1, 3, EINTR, -514):
        check(arena, result, ("poll", some, 4, -1), ("poll", many, 40, 5), ("poll", 0, 0, 1000),
              ("ppoll", some, 4, time, mask, 8), ("ppoll", 0, 0, time, 0, 8))  # fmt: skip


def test_selecting() -> None:
    arena = Arena()
    fds, none = arena.put(struct.pack("<QQ", 0b10110, 1) + bytes(112)), arena.put(bytes(128))
    time, mask = arena.words("qQ", 1, 2), arena.words("QQ", arena.words("Q", 2), 8)
    for result in (0, 1, 2, 3, EINTR):
        check(arena, result, ("select", 5, fds, 0, 0, 0), ("select", 65, fds, fds, none, time),
              ("select", 0, 0, 0, 0, time), ("select", 1, fds, 0, 0, 0), ("select", -1, fds, 0),
              ("pselect6", 5, fds, fds, 0, time, mask), ("pselect6", 5, 0, 0, 0, 0, 0))  # fmt: skip


def test_epoll() -> None:
    arena = Arena()
    events = arena.words("IQIQ", 1, 5, 0x80000004, 1 << 33)
    time = arena.words("qQ", 1, 2)
    for result in (0, 1, 2, EINTR):
        check(arena, result, ("epoll_wait", 3, events, 10, -1), ("epoll_wait", 3, 0, 10, 5),
              ("epoll_pwait", 3, events, 10, -1, events, 8),
              ("epoll_pwait2", 3, events, 2, time, 0, 8),
              *[("epoll_ctl", 3, operation, 4, events) for operation in range(5)])  # fmt: skip


def test_memory_and_ipc() -> None:
    arena = Arena()
    where = arena.words("QHHHHH", 5, 1, 2, 0x1000, 3, 4)
    maps: list[Call] = [
        ("mmap", 0, 4096, prot, flags, -1, 0x2000)
        for prot in (0, 3, 5, 0x1000001)
        for flags in (0x22, 0x12, 0x4022, 0x40022 | 21 << 26, 0x8003, 0x100022, 0xF)
    ]
    check(arena, 3, *maps, ("mremap", 1, 2, 3, 1, 9), ("mremap", 1, 2, 3, 3, 9), ("brk", 0),
          ("madvise", 1, 2, 4), ("mincore", 0x1000, 4097, where), ("msync", 1, 2, 4),
          ("shmget", 0, 100, 0o1600), ("semget", 5, 3, 0o600), ("msgget", 0, 0o3600),
          ("semop", 1, where, 2), ("msgsnd", 1, where, 5, 0), ("msgrcv", 1, where, 5, -1, 0),
          ("set_mempolicy", 0x8002, where, 66))  # fmt: skip


def test_a_call_in_progress_shows_what_is_known() -> None:
    arena = Arena()
    where = arena.words("4Q", 1, 8, 1, 1)
    check_abandoned(arena, ("nanosleep", where, where), ("poll", where, 1, -1), ("pause",),
                    ("select", 1, where, 0, 0, where), ("epoll_wait", 3, where, 1, -1),
                    ("rt_sigprocmask", 0, where, where, 8),
                    ("rt_sigtimedwait", where, where, 0, 8))  # fmt: skip
    calls: tuple[Call, ...] = (("rt_sigsuspend", where, 8), ("sigaltstack", where, 0))
    check_abandoned(arena, *calls)
