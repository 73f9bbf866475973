"""Is the read-locked directory cache one, and does a kernel run on it?"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from bench.dcache import _BUCKETS, ReadLocked
from bench.platforms import REPOSITORY


def test_look_ups_and_changes_leave_no_lock_behind() -> None:
    names: ReadLocked[bytes, int] = ReadLocked()
    names[b"one"] = 1
    assert names.get(b"one") == 1
    assert names.get(b"two", 2) == 2
    assert names.pop(b"two", None) is None
    del names[b"one"]
    assert not names
    assert not any(bucket.readers for bucket in _BUCKETS)


def test_a_reader_keeps_a_writer_out() -> None:
    names: ReadLocked[bytes, int] = ReadLocked()
    bucket = _BUCKETS[hash(b"name") % len(_BUCKETS)]
    bucket.begin_read()
    writer = threading.Thread(target=names.__setitem__, args=(b"name", 1))
    writer.start()
    writer.join(0.05)
    assert not names
    bucket.end_read()
    writer.join(5)
    assert names == {b"name": 1}


def test_a_kernel_runs_on_it() -> None:
    words = [
        sys.executable,
        "-m",
        "bench.dcache",
        "run",
        "--",
        "/bin/sh",
        "-c",
        "cd /tmp; >a; ls a",
    ]
    done = subprocess.run(
        words, capture_output=True, cwd=REPOSITORY, env=dict(os.environ), check=False
    )
    assert done.stdout == b"a\n"
