"""Do paths, buffers, metadata and descriptors print as strace prints them?"""

from __future__ import annotations

import struct

from .oracle import Arena, check, check_abandoned, needs_strace

pytestmark = needs_strace

ENOENT, EBADF, ENOTDIR, ENODATA, EFAULT = -2, -9, -20, -61, -14


def test_strings_are_escaped_and_cut() -> None:
    arena = Arena()
    contents = [b"", b"abc", b"a" * 32, b"a" * 33, b"\x011" * 16 + b"1", b"\x018\x019", b"\n1\0001",
                b"\0\n\t\r\v\f\"\\\x7f\x80\xff", bytes(range(32))]  # fmt: skip
    writes = [("write", 1, arena.put(content), len(content)) for content in contents]
    check(arena, 100, *writes, ("write", 1, 0, 5), ("write", 1, arena.put(b"x"), 0))
    check(arena, 3, *[("read", 1, arena.put(content), 10) for content in contents])
    check(arena, 0, ("read", 1, arena.put(b"abc"), 10), ("read", 1, 0, 5))
    check(arena, EFAULT, ("read", 1, arena.put(b"abc"), 10))


def test_paths_are_whole_up_to_path_max() -> None:
    arena = Arena()
    for path in (b"", b"a/b", b"x" * 200, b"\x011", b"p" * 5000):
        arena.text(path)
        check(arena, 4, ("access", arena.text(path), 4), ("getcwd", arena.text(path), 5000))
    target = arena.put(b"target")
    check(arena, 4, ("readlink", arena.text(b"a"), target, 6), ("getcwd", arena.text(b"/ab"), 3))


def test_memory_that_ends_prints_as_pointers() -> None:
    arena = Arena()
    words = arena.put_at_end(struct.pack("<3Q", 1, 2, 3))
    check(arena, ENOENT, ("execve", words, words, words), ("execve", 0, words + 16, words + 17),
          ("execve", 0, words + 24, words + 24), ("writev", 1, words, 3), ("access", words + 23, 0),
          ("write", 1, words + 20, 5))  # fmt: skip


def test_execve_shows_arguments_and_counts_variables() -> None:
    arena = Arena()
    short, long = arena.text(b"-l"), arena.text(b"a" * 50)
    argv = arena.words("4Q", short, long, 5, 0)
    crowd = arena.words("41Q", *[short] * 40, 0)
    path = arena.text(b"/bin/ls")
    check(arena, ENOENT, ("execve", path, argv, crowd), ("execve", path, crowd, argv),
          ("execve", path, 0, 0), ("execve", path, 5, 5),
          ("execveat", -100, path, argv, argv, 0x1000))  # fmt: skip


def test_environments_of_any_size_and_alignment_are_counted() -> None:
    arena = Arena()
    path = arena.text(b"/x")
    word = struct.pack("<Q", path)
    tables = [arena.put(word * count + bytes(8), align) for count in (1, 600) for align in (1, 16)]
    last = arena.put_at_end(word * 700 + b"abc")
    tables += [last, last + 8, last + 5599, last + 5600]
    check(arena, ENOENT, *[("execve", path, 0, table) for table in tables])


def test_vectors_hold_as_much_as_was_transferred() -> None:
    arena = Arena()
    rows = [(arena.put(b"hello"), 5), (arena.put(b"w" * 50), 50), (0, 0), (arena.put(b"z"), 1)]
    vectors = arena.put(b"".join([struct.pack("<QQ", *row) for row in rows]))
    many = arena.put(struct.pack("<QQ", rows[3][0], 1) * 40)
    for result in (7, 0, EBADF):
        check(arena, result, ("writev", 1, vectors, 4), ("readv", 1, vectors, 4),
              ("preadv2", 1, vectors, 4, -1, 0, 8), ("pwritev", 1, many, 40, 5),
              ("process_vm_readv", 9, vectors, 4, vectors, 2, 0))  # fmt: skip


def test_stat_shows_type_and_size_or_device() -> None:
    arena = Arena()
    path = arena.text(b"/x")
    modes = (0o100644, 0o40755, 0o20620, 0o60660, 0o120777, 0o104755, 0o107777, 0o777, 0o4777, 0,
             0o30000, 0o37777777777)  # fmt: skip
    stats = [arena.words("QQQIIIIQqqqqqqqqq3q", 0x801, 5, 1, mode, 0, 0, 0, 0x8803, 9, *[1] * 11)
             for mode in modes]  # fmt: skip
    check(arena, 0, *[("stat", path, stat) for stat in stats])
    check(arena, ENOENT, ("stat", path, stats[0]), ("newfstatat", 3, path, stats[0], 0x1000))
    rows = [(m, bits) for m in (0, 1, 0x200, 0x7FF, 0xFFF, 0x17FF) for bits in (0o100644, 0o40755)]
    for mask, bits in rows:
        statx = arena.words("IIQIIIHHQQ208x", mask, 0, 0x30, 1, 2, 3, bits, 0, 9, 10)
        check(arena, 0, ("statx", -100, path, 0x2100, mask, statx))


def test_directory_entries_are_counted() -> None:
    arena = Arena()
    entries = b"".join([struct.pack("<QqHB", 1, 2, 24, 8) + b"abc\0\0" for _ in range(3)])
    for result in (72, 0, 24, 20, 5, 60, ENOTDIR):
        check(arena, result, ("getdents64", 3, arena.put(entries), 32768),
              ("getdents", 3, arena.put(entries), 32768), ("getdents64", 3, 0, 99))  # fmt: skip


def test_attributes_lose_one_trailing_zero() -> None:
    arena = Arena()
    path, name = arena.text(b"/x"), arena.text(b"user.a")
    for content in (b"value", b"val\0\0", b"valu\0", b"v" * 50, b"v" * 32 + b"\0"):
        value, size = arena.put(content), len(content)
        check(arena, size, ("getxattr", path, name, value, 64), ("listxattr", path, value, 64),
              ("setxattr", path, name, value, size, 1), ("listxattr", path, value, 0))  # fmt: skip
    check(arena, ENODATA, ("getxattr", path, name, name, 64), ("listxattr", path, name, 64))


def test_open_shows_a_mode_only_if_it_may_create() -> None:
    arena = Arena()
    path = arena.text(b"/x")
    flags = (0o102, 0, 0o20200001, 0o200000, 0o1101, 0o4012001, 3, 0xFFFFFFFF)
    check(arena, 3, *[("open", path, word, 0o644) for word in flags],
          *[("openat", -100, path, word, 0o10600) for word in flags])  # fmt: skip
    hows = [arena.words("QQQQ", 0o101, 0o644, 4, more) for more in (0, 1)]
    check(arena, 3, *[("openat2", 5, path, how, size) for how in hows for size in (16, 24, 32)])


def test_modes_devices_owners_and_times() -> None:
    arena = Arena()
    path = arena.text(b"/x")
    check(arena, 0, ("mknod", path, 0o20666, 0x105), ("mknod", path, 0o60666, 0x12345678),
          ("mknod", path, 0o100666, 0), ("mknodat", -100, path, 0o10666, 7), ("umask", 0o22),
          ("mkdir", path, 0o1777), ("chown", path, -1, 5), ("access", path, 0),
          ("faccessat2", -100, path, 5, 0x200), ("mount", path, path, path, 0xC0ED0001, path),
          ("mount", path, path, path, 4096, path), ("mount", path, path, path, 0x21, path),
          ("memfd_create", arena.text(b"n" * 40), 3),
          ("inotify_add_watch", 3, path, 0xFFF))  # fmt: skip
    for seconds, part in ((0, 0), (0, 5), (1700000000, 123456), (-1, 999999), (5, -1),
                          (253402300800, 0), (1 << 40, 1), (10**17, 0)):  # fmt: skip
        times = arena.words("qqqq", seconds, part, 0, 0x3FFFFFFF)
        check(arena, 0, ("utimensat", -100, path, times, 0), ("utimes", path, times),
              ("utime", path, times), ("futimesat", 3, path, times))  # fmt: skip


def test_file_systems_are_named() -> None:
    arena = Arena()
    path = arena.text(b"/")
    for kind in (0xEF53, 0x1021994, 0x9FA0, 0x794C7630, 7):
        statfs = arena.words("QQQQQQQiiQQQ32x", kind, 4096, 9, 8, 7, 6, 5, 4, 3, 255, 4096, 0x426)
        check(arena, 0, ("statfs", path, statfs), ("fstatfs", 3, statfs))


def test_fcntl_explains_its_argument_and_result() -> None:
    arena = Arena()
    lock = arena.words("hhxxxxqqi4x", 1, 0, 5, 6, 77)
    pointers = {5, 6, 7, 12, 13, 14, 15, 16, 17, 36, 37, 38}
    commands = [*range(18), 36, 37, 38, *range(1024, 1041)]
    calls = [("fcntl", 3, c, lock if c in pointers else 0o4001) for c in commands]
    for result in (0, 1, 17, 0x8401, EBADF, -512):
        check(arena, result, *calls)
    check(arena, 0, ("fcntl", 3, 6, 0), ("fcntl", 3, 1033, 31), ("fcntl", 3, 1026, 0x8000001F))


def test_offsets_in_memory_show_what_became_of_them() -> None:
    arena = Arena()
    five, six = arena.words("q", 5), arena.words("q", 6)
    changed = (3, struct.pack("<Q", 4096))
    check(arena, 100, ("sendfile", 1, 2, five, 100), poke=changed)
    check(arena, 0, ("sendfile", 1, 2, five, 100), poke=changed)
    check(arena, EBADF, ("sendfile", 1, 2, five, 100), poke=changed)
    check(arena, 7, ("sendfile", 1, 2, 0, 100), ("splice", 1, five, 2, six, 7, 3),
          ("copy_file_range", 1, five, 2, 0, 7, 0), ("lseek", 3, -5, 2))  # fmt: skip


def test_a_call_in_progress_shows_what_is_known() -> None:
    arena = Arena()
    lock = arena.words("hhxxxxqqi4x", 1, 0, 5, 6, 77)
    path = arena.text(b"/x")
    check_abandoned(arena, ("read", 3, path, 5), ("write", 3, path, 2), ("close", 3),
                    ("fcntl", 3, 7, lock), ("fcntl", 3, 5, lock), ("stat", path, lock),
                    ("pipe2", lock, 0x80000), ("ioctl", 3, 0x5401, lock),
                    ("ioctl", 3, 0x5402, lock), ("sendfile", 1, 2, lock, 100))  # fmt: skip
