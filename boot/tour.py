"""`hardtack tour`: one boot, a handful of real programs, and what they cost.

The programs are the host's own, unmodified; those that the host lacks are left out, and named.
They run in one kernel under a shell script, so that the summary at the end (`--stats`) is of all.
"""

from __future__ import annotations

import shlex
import shutil

import attrs


@attrs.frozen
class Step:
    """One stop: what it shows, the programs it needs, the shell command."""

    title: str
    needs: tuple[str, ...]
    command: str


STEPS = (
    Step("A static program: BusyBox", ("busybox",), "busybox uname -a"),
    Step("Coreutils, dynamic, through the program's own ld.so", ("ls",), "ls -l /proc/self/fd"),
    Step(
        "bash: a pipeline of four processes",
        ("bash", "sort", "head"),
        "bash -c 'for i in 3 1 2; do echo line $i; done | sort | tr a-z A-Z | head -n 2'",
    ),
    Step(
        "Copy-up: the host's tree can be changed, in memory only",
        ("sed", "grep"),
        "sed -i 's/^root:/captain:/' /etc/passwd && grep ^captain /etc/passwd",
    ),
    Step(
        "CPython: threads, a subprocess, SQLite",
        ("python3",),
        "python3 -c '"
        "import sqlite3, subprocess, threading; "
        't = [threading.Thread(target=print, args=("thread", n)) for n in range(3)]; '
        "[x.start() for x in t]; [x.join() for x in t]; "
        'print(subprocess.run(["echo", "subprocess"], capture_output=True).stdout); '
        'print(sqlite3.connect(":memory:").execute("select sqlite_version()").fetchone())\'',
    ),
    Step(
        "A compiler: build a program in the kernel and run it there",
        ("cc",),
        "printf '#include <stdio.h>\\nint main(){puts(\"compiled inside\");}' > /tmp/tour.c"
        " && cc -o /tmp/tour /tmp/tour.c && /tmp/tour",
    ),
    Step(
        "A program that crashes takes only itself along",
        ("sh",),
        "sh -c 'kill -SEGV $$'; echo \"status $?\"",
    ),
)


def available() -> tuple[list[Step], list[Step]]:
    """The steps whose programs the host has, and the others."""
    found: list[Step] = []
    missing: list[Step] = []
    for step in STEPS:
        (found if all(map(shutil.which, step.needs)) else missing).append(step)
    return found, missing


def script() -> str:
    """The tour as a shell script."""
    found, missing = available()
    lines = ["cd /tmp"]
    for number, step in enumerate(found, 1):
        title = f"{number}/{len(found)}  {step.title}"
        lines.append(
            f"printf '\\n\\033[1m%s\\033[0m\\n  $ %s\\n' {shlex.quote(title)} "
            f"{shlex.quote(step.command)}"
        )
        lines.append(step.command)
    lines.extend(
        f"echo {shlex.quote(f'left out (needs {chr(32).join(step.needs)}): {step.title}')}"
        for step in missing
    )
    lines.append("echo")
    return "\n".join(lines)


def words() -> list[str]:
    """The tour as a `hardtack run` command line, without its first word."""
    return ["--stats", "--", "/bin/sh", "-c", script()]
