"""What tests of several rooms share: the guest programs of user/, built once."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell: what tests interrupt must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

settings.register_profile("hardtack", deadline=None)  # a busy host is no failure
settings.load_profile("hardtack")

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def user_programs() -> Path:
    """The directory of built guest programs; skips where they cannot be built."""
    for tool in ("make", "cc"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} to build user/ with")
    built = subprocess.run(
        ["make", "-s", "-C", str(REPOSITORY / "user")], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, f"user/ does not build:\n{built.stderr}"
    return REPOSITORY / "user" / "build"
