"""Do programs notice when the services under them crash and hang?

A real kernel runs in this process. A service is struck at its door, again and again, while a
program runs; what the program says is compared with what it should say.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from boot.assembly import BUILDERS, Machine
from boot.config import MIB, Config
from boot.kernel import run_kernel
from boot.supervisor import ServiceFailed
from boot.topology import EMBEDDED, Restart, Topology
from bus.errors import KernelBug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from boot.supervisor import Child
    from bus.core import Handler

SCRIPT = """
i=0
while [ $i -lt 12 ]; do
  i=$((i+1))
  echo line $i >> /tmp/log
  ls -l /etc/hostname > /dev/null || echo ls failed
  cat /tmp/log | sort | tail -n 1 > /tmp/last
  rm /tmp/last
done
wc -l < /tmp/log
grep -c line /tmp/log
"""
STRUCK = ("fs", "vm", "net", "clock", "entropy", "hosttree", "console", "nic", "proc", "killer")


def topology(**changes: Any) -> Topology:
    """The usual one, where services may fail as often as they like."""
    services = tuple(
        spec
        if spec.name in ("ram", "cpu")
        else attrs.evolve(spec, restart=Restart(**{"intensity": 100_000, "hang_s": 0.2, **changes}))
        for spec in EMBEDDED.services
    )
    return Topology(services)


class Striker:
    """Strikes every n-th call to a service."""

    def __init__(self, machine: Machine, service: str, kind: str, every: int, most: int) -> None:
        self.machine, self.service, self.kind = machine, service, kind
        self.every, self.left, self.calls, self.struck = every, most, 0, 0
        machine.bus.interpose(service, self.wrap)

    def wrap(self, kind: type[Any], handler: Handler, caller: str) -> Handler:
        bus, service = self.machine.bus, self.service

        async def handle(call: Any) -> Any:
            self.calls += 1
            if self.calls % self.every or not self.left:
                return await handler(call)
            self.left -= 1
            self.struck += 1
            if self.kind == "crash":
                bus.fall(service, kind.__name__, RuntimeError("injected"))
            else:
                await bus.hang(service)
            await bus.up(service)
            return await bus.ask(service, call)

        return handle


def run(
    argv: tuple[str, ...],
    output: Path,
    struck: Callable[[Machine], Any],
    the_topology: Topology | None = None,
) -> tuple[int, str, Any, dict[str, Child]]:
    """Run a program under strikes: status, what it wrote to `output`, the striker, children."""
    found: list[Any] = []
    children: dict[str, Child] = {}

    def killer(machine: Machine) -> Any:
        found.append(struck(machine))
        assert machine.supervisor is not None
        children.update({child.spec.name: child for child in machine.supervisor.children})
        return BUILDERS["killer"](machine)

    builders = {**BUILDERS, "killer": killer}
    config = Config(argv, env=(("PATH", "/usr/bin:/bin"),), ram_bytes=256 * MIB)
    saved = os.dup(1)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        try:
            status = trio.run(
                lambda: run_kernel(config, topology=the_topology or topology(), builders=builders)
            )
        finally:
            os.dup2(saved, 1)
            os.close(saved)
    return status, output.read_text(), found[0], children


@pytest.mark.parametrize("service", STRUCK)
def test_no_program_notices_that_a_service_crashes(service: str, tmp_path: Path) -> None:
    every = 40 if service in ("fs", "vm", "clock", "hosttree") else 1
    status, said, striker, children = run(
        ("/bin/sh", "-c", SCRIPT),
        tmp_path / "out",
        lambda machine: Striker(machine, service, "crash", every, 60),
    )
    assert (status, said.split()) == (0, ["12", "12"])
    assert striker.struck > 0
    assert children[service].generation > 1
    assert len(children[service].recoveries) == children[service].generation - 1


@pytest.mark.parametrize("service", ["fs", "vm", "clock", "killer", "net"])
def test_no_program_notices_that_a_service_hangs(service: str, tmp_path: Path) -> None:
    every = 200 if service in ("fs", "vm", "clock") else 1
    status, said, striker, children = run(
        ("/bin/sh", "-c", SCRIPT + "sleep 1\n"),  # for those that only the pulse calls
        tmp_path / "out",
        lambda machine: Striker(machine, service, "hang", every, 4),
    )
    assert (status, said.split()) == (0, ["12", "12"])
    assert striker.struck > 0
    assert children[service].hangs > 0


def test_a_service_that_always_crashes_ends_the_kernel_in_words(tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match=r"service fs failed.*restarting does not help"):
        run(
            ("/bin/sh", "-c", SCRIPT),
            tmp_path / "out",
            lambda machine: Striker(machine, "fs", "crash", 1, 1 << 30),
            topology(intensity=3),
        )


def test_state_that_does_not_hold_is_not_taken_up(tmp_path: Path) -> None:
    def spoil(machine: Machine) -> None:
        def wrap(kind: type[Any], handler: Handler, caller: str) -> Handler:
            async def handle(call: Any) -> Any:
                machine.bus.interpose("vm", None)
                core = machine.services["vm"].core  # type: ignore[attr-defined]
                core.frames.refs_vector[core.frames.first] = 0
                raise KernelBug("spoilt")

            return handle

        machine.bus.interpose("vm", wrap)

    with pytest.raises(ServiceFailed, match=r"service vm failed.*what it kept does not hold"):
        run(("/bin/true",), tmp_path / "out", spoil)
