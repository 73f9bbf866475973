"""`hardtack fault`: do faults strike a kernel that runs, are they counted, and do they go?"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from boot.control.grammar import fault_words
from tests.boot.control.kernels import hardtack, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDLE = ("/bin/sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.2; done")
WORK = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo $i >> /tmp/f; done; wc -l < /tmp/f; rm /tmp/f"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("fault") / "c"
    with running(path, *IDLE):
        yield path


def fault(kernel: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boot", *fault_words(["fault", *words]), "--control", str(kernel)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("fault net crash", "fault add net:crash"),
        ("fault fs delay time=5ms times=2 -n web", "fault add fs:delay,time=5ms,times=2 -n web"),
        ("fault net:crash", "fault add net:crash"),
        ("fault add net:crash", "fault add net:crash"),
        ("fault clear 3", "fault clear 3"),
        ("fault list", "fault list"),
        ("fault nothing", "fault nothing"),
        ("fault", "fault"),
    ],
)
def test_the_short_form(words: str, meant: str) -> None:
    assert fault_words(words.split()) == meant.split()


@pytest.mark.parametrize("spec", ["fs crash times=5,interval=7", "vm crash times=5,interval=7"])
def test_a_service_crashes_is_counted_and_nobody_notices(kernel: Path, spec: str) -> None:
    assert re.fullmatch(r"fault \d+\n", fault(kernel, *spec.split()).stdout)
    done = hardtack(kernel, "exec", "--", "/bin/sh", "-c", WORK)
    assert (done.stdout, done.stderr, done.returncode) == ("20\n", "", 0)
    listed = fault(kernel, "list").stdout
    service = spec.split()[0]
    assert re.search(rf"\d+ +\d+ +5 +{service}:crash,.* \(spent\)", listed)
    assert re.search(rf"since boot: {service}:crash 5", listed)
    assert fault(kernel, "clear").stdout == "1 cleared\n"
    assert "(spent)" not in fault(kernel, "list").stdout
    assert f"service {service} restarted" in hardtack(kernel, "logs").stdout


def test_a_system_call_fails_until_the_fault_is_cleared(kernel: Path) -> None:
    number = fault(kernel, "uname:error=EPERM").stdout.split()[1]
    failed = hardtack(kernel, "exec", "--", "/bin/uname")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Operation not permitted" in failed.stderr
    assert fault(kernel, "clear", number).stdout == "1 cleared\n"
    assert hardtack(kernel, "exec", "--", "/bin/uname").stdout == "Linux\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("nobody crash", "nobody"),
        ("fs dance", "dance"),
        ("fs crash probability=200", "probability"),
        ("fs delay time=soon", "soon"),
        ("disk full", "boot with --image"),
        ("fs crash request=Fly", "no such request"),
        ("clear 999", "fault 999 is not armed"),
        ("read:error=EWHAT", "EIO"),
    ],
)
def test_what_cannot_be_disturbs_nothing(kernel: Path, words: str, reason: str) -> None:
    before = fault(kernel, "list").stdout
    done = fault(kernel, *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert fault(kernel, "list").stdout == before
