"""Can a program that breaks the rules hurt anything but itself?"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.known_gaps import marks
from tests.programs.oracle import compare

if TYPE_CHECKING:
    from pathlib import Path

OFFENCES = [
    "segv-null",
    "segv-read-null",
    "segv-readonly",
    "segv-text",
    "segv-unmapped",
    "segv-prot-none",
    "segv-kernel-read",
    "segv-kernel-write",
    "segv-top-page",
    "segv-noncanonical",
    "bus-past-end",
    "jump-null",
    "jump-kernel",
    "jump-noncanonical",
    "exec-nx-data",
    "exec-nx-stack",
    "stack-overflow",
    "stack-kernel",
    "sigill",
    "sigfpe",
    "sigfpe-overflow",
    "int3",
    "int-page-fault",
    "int-unused",
    "trap-flag",
    "priv-hlt",
    "priv-cli",
    "priv-sti",
    "priv-cr3",
    "priv-cr0-read",
    "priv-in",
    "priv-out",
    "priv-rdmsr",
    "priv-wrmsr",
    "priv-swapgs",
    "priv-sysret",
    "priv-invlpg",
    "priv-wbinvd",
    "priv-lgdt",
    "priv-ltr",
    "priv-lidt",
    "priv-clts",
    "priv-lmsw",
    "priv-dr7",
    "priv-insb",
    "load-kernel-ss",
    "far-jump-to-kernel",
    "iret-to-kernel",
    "double-fault-in-handler",
    "fault-in-handler",
    "fault-while-ignored",
    "fault-while-blocked",
    "sigreturn-forged",
]

SOON_S = 60.0

SCRIPT = """
ulimit -c 0
{program} {name}; echo status $?
{program} report {name}; echo status $?
echo alive; /bin/echo and well
"""


def test_the_list_is_complete(user_programs: Path) -> None:
    listed = subprocess.run(
        [user_programs / "isolation", "list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == OFFENCES


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in OFFENCES])
def test_an_offender_dies_alone(user_programs: Path, name: str) -> None:
    """The signal, the siginfo and what comes after are as on Linux."""
    text = SCRIPT.format(program=user_programs / "isolation", name=name)
    result = compare(Command(name, ("/bin/sh", "-c", text)), SOON_S)
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
    assert b"alive\nand well\n" in result.hardtack.stdout


@pytest.mark.parametrize("name", ["segv-null", "jump-kernel", "priv-hlt", "sigill", "int3"])
def test_an_offender_may_be_the_only_program(user_programs: Path, name: str) -> None:
    result = compare(Command(name, (str(user_programs / "isolation"), name)))
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
