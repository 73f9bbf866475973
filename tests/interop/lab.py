"""Network namespaces of the test's own, what runs in them, and a wire between them.

    with Lab() as lab:
        here, there = lab.namespace(), lab.namespace()
        lab.wire(here, there, Impairment(delay_ms=20, loss=1))
        there.run("ping", "-c1", "10.1.0.2")

Nothing has a name outside: a namespace lives as long as the processes in it, and these end with
the lab, or with the process that made it, however that ends. Interfaces go with their namespace.
No frame can reach the host's own network: no interface of these namespaces leads there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
RELAY = REPOSITORY / "user" / "build" / "framerelay"
START_S = 20
# No two differ in a single bit: a corrupted address is none of the others.
GUEST4, OUTSIDE4, BESIDE4 = "10.1.0.2", "10.1.0.1", "10.1.0.4"
GUEST6, OUTSIDE6 = "fd00:1::2", "fd00:1::1"
TAP = "ht0"


def missing(*programs: str) -> str | None:
    """Why a lab cannot be had here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs /dev/net/tun"
    wanted = ("ip", "nsenter", "unshare", "setpriv", *programs)
    absent = [program for program in wanted if shutil.which(program) is None]
    return f"needs {', '.join(absent)}" if absent else None


@attrs.frozen
class Impairment:
    """What happens to frames on the wire, each way; percentages, as tc-netem(8) has them."""

    delay_ms: float = 0
    loss: float = 0
    reorder: float = 0
    duplicate: float = 0
    corrupt: float = 0
    rate_mbit: float = 0
    """A bottleneck, before which `queue_frames` may wait; 0: none."""
    queue_frames: int = 100
    seed: int = 1

    def options(self) -> list[str]:
        """For `user/framerelay`."""
        words = {"d": self.delay_ms, "l": self.loss, "r": self.reorder, "u": self.duplicate}
        words |= {"c": self.corrupt, "b": self.rate_mbit}
        pairs = [(f"-{letter}", f"{value:g}") for letter, value in words.items() if value]
        pairs += [("-q", str(self.queue_frames)), ("-s", str(self.seed))]
        return [word for pair in pairs for word in pair]


CLEAN = Impairment()
IMPAIRED = Impairment(delay_ms=20, loss=1, reorder=0.5, duplicate=0.5, corrupt=0.1)
"""20 ms each way, so a round trip of 40."""


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
    """Poll until it holds; TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


class Namespace:
    """A network namespace, and the processes that were started in it."""

    def __init__(self) -> None:
        # `cat` ends when its standard input does: when we do, at the latest.
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo made; exec cat >/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"made\n":
            raise RuntimeError("no network namespace: unshare failed")
        self.path = f"/proc/{self._holder.pid}/ns/net"
        self._processes: list[subprocess.Popen[str]] = []
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *argv: str) -> list[str]:
        """A command line that runs another in here, and ends with whoever starts it."""
        return ["nsenter", f"--net={self.path}", "setpriv", "--pdeathsig", "KILL", *argv]

    def run(self, *argv: str, timeout_s: float = 60) -> str:
        """What a program prints; AssertionError with all it said if it fails."""
        ran = subprocess.run(
            self.command(*argv), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert ran.returncode == 0, f"{argv}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def start(
        self, *argv: str, cwd: Path | None = None, errors: bool = False
    ) -> subprocess.Popen[str]:
        """Start a program with pipes as its standard input and output; it ends with us."""
        process = subprocess.Popen(
            self.command(*argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
            text=True,
            cwd=cwd,
        )
        self._processes.append(process)
        return process

    def serve(self, port: int, *argv: str, cwd: Path | None = None) -> None:
        """Start a server that says nothing, and wait until it listens on a TCP port."""
        process = subprocess.Popen(
            self.command(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=cwd,
        )
        self._processes.append(process)
        wait_until(lambda: self._listens(port), f"{argv[0]} listens on {port}")

    def _listens(self, port: int) -> bool:
        # /proc/net is that of the reader's namespace.
        table = self.run("cat", "/proc/net/tcp", "/proc/net/tcp6")
        return f":{port:04X} 0" in table and any(
            line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
            for line in table.splitlines()
            if ":" in line.split()[0]
        )

    def address(self, interface: str, *addresses: str) -> None:
        """Bring an interface up and give it addresses, each with its prefix length."""
        self.run("ip", "link", "set", interface, "up")
        for address in addresses:
            extra = ["nodad"] if ":" in address else []
            self.run("ip", "address", "add", address, "dev", interface, *extra)

    def close(self) -> None:
        """End what runs in here, and with it the namespace."""
        for process in self._processes:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            process.wait()
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()


class Lab:
    """See the module. A context: all is gone when it is left."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def namespace(self) -> Namespace:
        """A new one, with loopback up."""
        made = Namespace()
        self._stack.callback(made.close)
        return made

    def wire(
        self, here: Namespace, there: Namespace, impairment: Impairment
    ) -> subprocess.Popen[str]:
        """Connect two namespaces: interfaces `wire` in the first, `eth0` in the second."""
        relay = here.start(
            str(RELAY), *impairment.options(), "wire", here.path, "eth0", there.path, errors=True
        )
        assert relay.stdout is not None
        said = relay.stdout.readline()
        assert said == "ready\n", said + relay.stdout.read()
        # Frames are to be lost on the wire alone, not before it for want of processor time.
        for end, name in ((here, "wire"), (there, "eth0")):
            end.run("ip", "link", "set", name, "txqueuelen", "10000")
        return relay

    def enter(self, context: contextlib.AbstractContextManager[object]) -> None:
        """Have something else end with the lab."""
        self._stack.enter_context(context)


def relay_counts(relay: subprocess.Popen[str]) -> list[dict[str, int]]:
    """End a wire; what befell its frames, each way."""
    relay.terminate()
    assert relay.stdout is not None
    return [json.loads(line) for line in relay.stdout.read().splitlines()]


class Wire:
    """A guest's tap, a wire, and Linux at its other end; a second Linux beside the guest.

    inside: tap ht0 (the guest's), bridged with the wire's end and with `beside`, a Linux host that
    stands where the guest does. outside: Linux, eth0.
    """

    def __init__(self, lab: Lab, impairment: Impairment = CLEAN) -> None:
        self.inside, self.outside, self.beside = (lab.namespace() for _ in range(3))
        self.relay = lab.wire(self.inside, self.outside, impairment)
        self.outside.address("eth0", f"{OUTSIDE4}/24", f"{OUTSIDE6}/64")
        run = self.inside.run
        run("ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr")
        run("ip", "link", "add", "br0", "type", "bridge")
        holder = self.beside.path.split("/")[2]
        run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", holder)
        for name in (TAP, "veth0", "wire"):
            run("ip", "link", "set", name, "master", "br0", "up")
        run("ip", "link", "set", "br0", "up")
        self.beside.address("eth0", f"{BESIDE4}/24")

    def net(self) -> str:
        """The guest's --net option."""
        return f"tap:{TAP},ip={GUEST4}/24,gw={OUTSIDE4}"


class Direct:
    """A guest's tap and Linux at its other end, segmentation and checksum offload in between."""

    def __init__(self, lab: Lab) -> None:
        self.inside = self.outside = lab.namespace()
        self.inside.run("ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr")
        self.outside.address(TAP, f"{OUTSIDE4}/24", f"{OUTSIDE6}/64")

    def net(self) -> str:
        """The guest's --net option."""
        return f"tap:{TAP},ip={GUEST4}/24,gw={OUTSIDE4}"


class Guest:
    """Hardtack in a namespace, its first process a shell that is told what to do."""

    def __init__(self, where: Namespace, net: str, *options: str, cwd: Path | None = None) -> None:
        self._log = open(cwd / "kernel.log", "w+") if cwd is not None else None  # noqa: SIM115
        self._process = subprocess.Popen(
            where.command(
                *(sys.executable, "-m", "boot", "run", "--net", net, *options),
                *("-e", f"PATH={os.environ.get('PATH', os.defpath)}", "-w", "/tmp"),
                *("--", "/bin/sh"),
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log if self._log is not None else subprocess.DEVNULL,
            cwd=REPOSITORY,
        )
        self._number = 0
        self.run("true", timeout_s=START_S)

    def run(self, script: str, timeout_s: float = 60) -> str:
        """Run lines of shell; what they print, both ways. AssertionError: the last one failed."""
        status, said = self.attempt(script, timeout_s)
        assert status == 0, f"{script}: {status}\n{said}"
        return said

    def attempt(self, script: str, timeout_s: float = 60) -> tuple[int, str]:
        """As `run`, but replies with the status, too."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        self._number += 1
        mark = f"-- {os.getpid()}.{self._number} over: "
        line = f"{{ {script}\n}} 2>&1 </dev/null; echo '{mark}'$?\n"
        process.stdin.write(line.encode())
        process.stdin.flush()
        said = b""
        for piece in self._pieces(timeout_s, script):
            said += piece
            at = said.find(mark.encode())
            if at >= 0 and said.endswith(b"\n"):
                return int(said[at + len(mark) :]), said[:at].decode(errors="replace")
        raise AssertionError(f"the kernel has ended during {script}:\n{said.decode()}")

    def _pieces(self, timeout_s: float, what: str) -> Iterator[bytes]:
        output = self._process.stdout
        assert output is not None
        deadline = time.monotonic() + timeout_s
        os.set_blocking(output.fileno(), False)
        while True:
            piece = output.read1(65536) if hasattr(output, "read1") else output.read(65536)
            if piece == b"" and self._process.poll() is not None:
                return
            if piece:
                yield piece
                continue
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {timeout_s} s")
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        """The kernel's process on the host."""
        return self._process.pid

    def close(self) -> None:
        """Leave the shell; AssertionError if the kernel does not end well."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(b"exit 0\n")
                self._process.stdin.close()
            status = self._process.wait(START_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            if self._log is not None:
                self._log.close()
        assert status == 0, f"the kernel left with {status}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
