"""What can run a guest program: this machine's kernel, Hardtack, gVisor.

A platform is a command-line prefix: `[*prefix, program, argument]` runs the program there, its
standard output is the program's. Which exist on this machine is found out, not configured.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import attrs

REPOSITORY = Path(__file__).resolve().parents[1]
GUEST_PROGRAMS = REPOSITORY / "user" / "build"
RUNSC_OPTIONS = ("--rootless", "--network=none", "--platform=ptrace")


@attrs.frozen
class Platform:
    """A way to run programs. `version` goes into the results."""

    name: str
    prefix: tuple[str, ...]
    version: str


def _output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def native() -> Platform:
    """The kernel we stand on."""
    return Platform("native", (), _output("uname", "-sr"))


def hardtack() -> Platform:
    """A Hardtack booted for each program."""
    from boot import VERSION

    return Platform("hardtack", (sys.executable, "-m", "boot", "run", "--"), VERSION)


def gvisor() -> Platform | None:
    """A gVisor sandbox for each program, where runsc is installed."""
    runsc = shutil.which("runsc")
    if runsc is None:
        return None
    version = re.sub(r"^runsc version ", "", _output(runsc, "--version").partition("\n")[0])
    return Platform("gvisor", (runsc, *RUNSC_OPTIONS, "do"), version)


NAMES = ("native", "hardtack", "gvisor")


def available(names: tuple[str, ...] = NAMES) -> list[Platform]:
    """Those of the named platforms that this machine has, in that order."""
    makers = {"native": native, "hardtack": hardtack, "gvisor": gvisor}
    found = (makers[name]() for name in names)
    return [platform for platform in found if platform is not None]


class GuestProgramsMissing(Exception):
    """The guest programs are not there, and could not be built."""


def build_guest_programs() -> None:
    """Bring user/build up to date."""
    make = shutil.which("make")
    if make is None:
        raise GuestProgramsMissing("the guest programs in user/ need make and a C compiler")
    built = subprocess.run(
        [make, "-s", "-C", str(GUEST_PROGRAMS.parent)], capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        raise GuestProgramsMissing(f"user/ does not build: {built.stderr.strip()}")
