"""Do processes, scheduling, limits, futexes and prctl print as strace prints them?"""

from __future__ import annotations

import struct

import pytest

from .oracle import Arena, Call, check, check_abandoned, needs_strace

pytestmark = needs_strace

EPERM, EAGAIN, ECHILD, EINVAL = -1, -11, -10, -22
WORD = (1 << 64) - 1


def test_clone_shows_what_its_flags_use() -> None:
    arena = Arena()
    tid = arena.words("i", 99)
    flags = (
        17,
        0x1200011,
        0x3D0F00,
        0x4111,
        0x100011,
        0x1011,
        0x80000,
        0x00200011,
        64,
        65,
        0,
        WORD,
    )
    calls: list[Call] = [("clone", word, 0x7000, tid, 0x7200, 0x7300) for word in flags]
    check(arena, 100, *calls)
    check(arena, EAGAIN, *calls)


def test_clone3_shows_its_structure_and_what_changed() -> None:
    arena = Arena()
    tid, tids = arena.words("i", 99), arena.words("ii", 5, 6)
    rows = [
        (0x100, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0),
        (0x3D0F00, 0, 0x7200, tid, 0, 0x7000, 0x1000, 0x7300, 0, 0, 0),
        (0x1D00, tid, 0, 0, 17, 0x7000, 0x1000, 0, 0, 0, 0),
        (0x300000080, 0, 0, 0, 200, 0, 0, 0, tids, 2, 3),
        (WORD, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5),
    ]
    calls: list[Call] = [
        ("clone3", arena.words("11QQ", *row, more), size)
        for row in rows
        for more, size in ((0, 64), (0, 88), (0, 96), (7, 96), (0, 32))
    ]
    for result in (100, 0, EPERM):
        check(arena, result, *calls)


def test_wait_statuses() -> None:
    arena = Arena()
    statuses = (0, 0x100, 0xFF00, 9, 2, 0x8B, 0x137F, 0x857F, 0x5137F, 0x3057F, 0xFFFF, 0x80137F,
                0x7F, 0x12345, 0xFF, 0x80, 0x40, 0x10000, 0x10100, 0x1FFFF, 0x770000)  # fmt: skip
    usage = arena.put(struct.pack("<4q", 1, 2, 3, 4) + bytes(112))
    calls: list[Call] = [
        ("wait4", -1, arena.words("I", status), options, usage)
        for status in statuses
        for options in (0, 3)
    ]
    for result in (5, 0, ECHILD):
        check(arena, result, *calls)


FUTEX_COMMANDS = [*range(14), *range(128, 142), 0x100, 137 | 256, 0x181, 99, 0x400]


def test_futex_operations_have_their_own_arguments() -> None:
    arena = Arena()
    word, timeout = arena.words("I", 1), arena.words("qQ", 1, 2)
    for last in (7, -1):
        calls: list[Call] = [("futex", word, c, 5, timeout, word, last) for c in FUTEX_COMMANDS]
        check(arena, 1, *calls)
        check(arena, EAGAIN, *calls)
    packed = (0x84005001, 0x12003004, 0xF7FFF0FF, 0)
    check(arena, 1, *[("futex", word, 5, 1, 2, word, operation) for operation in packed])


def test_limits_are_in_units() -> None:
    arena = Arena()
    for pair in ((0, 0), (WORD, WORD), (8 << 20, 1025), (1024, 4096), (1 << 63, 3 << 30)):
        limit = arena.words("QQ", *pair)
        for result in (0, EPERM):
            check(arena, result, ("setrlimit", 3, limit), ("prlimit64", 0, 7, limit, limit),
                  ("getrlimit", 16, limit), ("getrusage", -1, limit))  # fmt: skip


def test_scheduling_attributes_and_processors() -> None:
    arena = Arena()
    layout = "IIQiIQQQIIQ"
    rows = [(48, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0), (56, 1, 0x67, 0, 9, 1, 2, 3, 4, 5, 6),
            (64, 99, 0x80, -3, 9, 1, 2, 3, 4, 5, 6), (56, 1, 8, 0, 9, 1, 2, 3, 4, 5, 6),
            (56, 1, 16, 0, 9, 1, 2, 3, 4, 5, 6), (0, 6, 0, 0, 9, 1, 2, 3, 4, 5, 6),
            (7, 6, 0, 0, 9, 1, 2, 3, 4, 5, 6)]  # fmt: skip
    attributes = [arena.words(layout, *row) for row in rows]
    cpus = arena.words("16Q", 5, *[0] * 15)
    for result in (0, 8, EPERM):
        check(arena, result, *[("sched_setattr", 0, where, 0) for where in attributes],
              *[("sched_getattr", 0, w, s, 0) for w in attributes for s in (48, 52, 56, 64)],
              ("sched_setaffinity", 0, 128, cpus), ("sched_getaffinity", 0, 128, cpus),
              ("sched_getscheduler", 4), ("sched_setscheduler", 0, 1, cpus))  # fmt: skip


def test_identity_names_and_capabilities() -> None:
    arena = Arena()
    ids = arena.words("40I", 1, 2, 0xFFFFFFFF, *range(37))
    headers = [arena.words("Ii", v, 7) for v in (0x19980330, 0x20071026, 0x20080522, 5)]
    sets = arena.words("6I", 1, 0xFFFFFFFF, 1 << 31, 5, 0x200, 7)
    names = arena.put(b"Linux".ljust(65, b"\0") + b"x" * 65 + bytes(260))
    for result in (3, 0, EPERM):
        check(arena, result, ("getgroups", 3, ids), ("setgroups", 40, ids), ("setgroups", 2, ids),
              ("getresuid", ids, ids + 4, ids + 8), *[("capget", h, sets) for h in headers],
              *[("capset", h, sets) for h in headers], ("uname", names), ("sysinfo", names),
              ("sethostname", names, 5), ("sethostname", names, 65), ("setreuid", -1, 5),
              ("getrandom", names, 300, 1))  # fmt: skip


ARM_OR_UNNAMED = {45, 46, 50, 51, 54, 55, 56, 60, 61, 62, 63, 64}


@pytest.mark.parametrize("first", [0, 1, 2, 5, 99, 1 << 40, "memory"])
def test_prctl_options_have_their_own_arguments(first: int | str) -> None:
    arena = Arena()
    where = arena.put(b"nam\0" + bytes(20)) if first == "memory" else int(first)
    options = [o for o in [*range(70), 0x53564D41, 0x59616D61] if o not in ARM_OR_UNNAMED | {52}]
    for result in (0, 1, 3, EINVAL):
        check(arena, result, *[("prctl", option, where, 5, 7, 9) for option in options])
    check(arena, 7, ("prctl", 52, 0), ("prctl", 53, 0, 4), ("prctl", 33, 1, 1), ("prctl", 47, 2, 3))


def test_system_settings() -> None:
    arena = Arena()
    text = arena.put(b"abc\0" + bytes(60))
    actions: list[Call] = [("syslog", action, text, 7) for action in range(13)]
    personas: list[Call] = [("personality", word) for word in (WORD, 0, 8, 0x40000, 0x5140008, 9)]
    check(arena, 3, *actions, *personas, ("arch_prctl", 0x1002, text), ("arch_prctl", 0x1003, text),
          ("arch_prctl", 0x1011, 0), ("reboot", 0xFEE1DEAD, 672274793, 0xA1B2C3D4, text),
          ("reboot", 0xFEE1DEAD, 672274793, 0x4321FEDC, 0), ("seccomp", 1, 3, text),
          ("seccomp", 2, 0, text), ("seccomp", 0, 0, 0), ("membarrier", 0, 0),
          ("membarrier", 8, 1, 3), ("unshare", 0x20000), ("setns", 3, 0))  # fmt: skip
    check(arena, EPERM, *actions, *personas)


def test_a_call_in_progress_shows_what_is_known() -> None:
    arena = Arena()
    where = arena.words("11Q", 0x1100, *[64] * 10)
    check_abandoned(arena, ("wait4", -1, where, 0, 0), ("clone", 0x1200011, 0, 0, 0, where),
                    ("clone", 17), ("clone3", where, 88), ("futex", where, 0, 1, where),
                    ("prctl", 15, where), ("prctl", 3), ("sched_yield",),
                    ("uname", where), ("getrlimit", 3, where))  # fmt: skip
