"""Install the servers that are missing, where that is possible: root, on a system with apt.

Debian's packages start their daemons at once, on the ports that they would have on a server. That
is not wanted here, so a policy-rc.d that says no stands in the way meanwhile (invoke-rc.d(8)).
Where the machine has a policy of its own, that one counts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POLICY = Path("/usr/sbin/policy-rc.d")
NO_DAEMONS = "#!/bin/sh\nexit 101\n"


def possible() -> bool:
    """Whether packages can be installed here."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@contextlib.contextmanager
def no_daemons(policy: Path = POLICY) -> Iterator[None]:
    """Packages that are installed meanwhile do not start their daemons."""
    if policy.exists():
        yield
        return
    policy.write_text(NO_DAEMONS)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def install(packages: Sequence[str]) -> str | None:
    """Install; what went wrong in one line, or None."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ("-q", "-y", "--no-install-recommends")
    with no_daemons():
        for words in (("update", "-q"), ("install", *options, *packages)):
            done = subprocess.run(
                ["apt-get", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
            if done.returncode != 0 and words[0] == "install":
                return done.stdout.strip().rpartition("\n")[2]
    return None
