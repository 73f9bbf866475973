"""Do faults on the command line strike a whole kernel, and only what they are aimed at?"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*words: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    options = ["--fault", fault] if fault else []
    argv = [sys.executable, "-m", "boot", "run", *options, "--", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("fs:error,path=/etc/passwd", "cat: /etc/passwd: Input/output error"),
        ("fs:error,process=cat,errno=EACCES,request=Open,path=/etc/*", "Permission denied"),
        ("fs:error,process=dog", ""),
        ("fs:error,path=/etc/group", ""),
        ("fs:drop,times=3", ""),
        ("fs:duplicate", ""),
        ("vm:delay,time=1ms", ""),
        ("hosttree:delay,time=5ms,jitter=5ms", ""),
        ("heap:fail,probability=20", ""),
        ("heap:pressure,bytes=128M", ""),
        ("inject=openat:error=ELOOP:when=3", "symbolic links"),
    ],
)
def test_what_cat_sees_of_a_fault(fault: str, said: str) -> None:
    done = run("/bin/cat", "/etc/passwd", fault=fault)
    assert said in done.stderr
    assert done.returncode == (1 if said else 0)
    if not said:
        assert (done.stdout, done.stderr) == (Path("/etc/passwd").read_text(), "")


def test_time_and_randomness() -> None:
    shown = run("/bin/date", "+%s", fault="clock:jump,by=1h").stdout
    assert abs(int(shown) - time.time() - 3600) < 60
    script = "import os; print(os.urandom(4).hex())"
    assert run("python3", "-c", script, fault="entropy:zero").stdout == "00000000\n"


def test_a_delay_is_felt() -> None:
    began = time.monotonic()
    assert run("/bin/cat", "/etc/passwd", fault="fs:delay,time=2s,times=1").returncode == 0
    assert time.monotonic() - began > 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("disk:full", "there is no disk (boot with --image FILE)"),
        ("ram:crash", "ram takes no messages"),
        ("vm:delay,path=/x", "requests to vm have no path"),
        ("fs:delay,request=Fly", "fs has no such request (it has"),
        ("heap:pressure,bytes=1G", "say less than the heap's"),
    ],
)
def test_what_this_machine_cannot_do_is_told(fault: str, said: str) -> None:
    done = run("/bin/true", fault=fault)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


SCRIPTED = """
import ctypes
call = ctypes.CDLL(None).syscall
text = b"function run() for i = 1, 100000 do end return 7 end"
for _ in range(4):
    print(call(501, call(500, text, len(text), 0, 0, 0, 0), 0, 0, 0, 0, 0))
"""


@pytest.mark.parametrize("fault", ["script:delay,time=1200ms,times=2", "script:hang,times=1"])
def test_a_script_is_not_killed_for_the_time_that_its_service_takes(fault: str) -> None:
    done = run("/usr/bin/python3", "-c", SCRIPTED, fault=fault)
    assert (done.stdout, done.returncode) == ("7\n" * 4, 0), done.stderr
