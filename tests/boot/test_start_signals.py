"""Is a kernel that is told to stop while it starts silent, quick and honest about it?"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import trio

from boot.kernel import run_kernel
from tests.boot.stubs import StubProc, StubService, builders
from tests.boot.test_kernel import CONFIG

LAUNCH = """
import sys
from boot import entry
entry.leave_at_once()
print("ready", flush=True)
from boot.cli import main
sys.exit(main(["run", "--", "/bin/sleep", "30"]))
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.2, 0.4, 0.7, 1.2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_at_any_moment_ends_it_without_a_word(
    number: signal.Signals, delay_s: float
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCH], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(delay_s)
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (128 + number, "", "")


def test_what_the_starter_ignores_stays_ignored() -> None:
    script = f"trap '' INT; {sys.executable} -c '{LAUNCH}' & sleep 1; kill -INT $!; sleep 0.5; "
    script += "kill -TERM $!; wait $!; echo status $?"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("status 143", "")


async def test_services_stop_in_order_when_the_start_is_given_up() -> None:
    async def never(proc: StubProc) -> int:
        raise AssertionError("the program ran")

    class Slow(StubService):
        async def start(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(5)

    journal: list[str] = []
    made = builders(
        never,
        vm=lambda machine: StubService("vm", journal),
        fs=lambda machine: Slow("fs", journal),
    )
    assert await run_kernel(CONFIG, builders=made) == 143
    assert journal[-5:] == ["stop fs", "close fs", "stop vm", "end vm", "close vm"]
