"""Every fault that is armed in this kernel: one registry, whoever asked for it.

`--fault`, `--inject`, the configuration file and the control socket add to it, list it and clear
it, all by the grammar of `bus/faultspec.py`. It injects nothing itself: each owner of a target (the
bus for services, proc for system calls, a driver for its device) is an `Injector` that registers
for it and is told which faults of its target are armed whenever that changes. So an owner pays
for faults only while there are some: with none armed it takes its hooks out again.

    registry = FaultRegistry(services, seed=7)
    number = registry.add("fs:hang,probability=10")     FaultError: says what would be valid
    registry.list()                                     Listed(number, text, eligible, injected)
    registry.clear(number)                              and None clears all of them

A fault for a target that nobody owns yet waits for its owner (at boot the drivers come first).
Seeded: the n-th eligible call of a fault is struck or spared by the seed, the fault's number and
its text alone.

Pure, and every field is written in the kernel's one thread.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

import attrs

from bus.faultspec import ONCE, CallFault, Fault, FaultError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

CALLS = "calls"
"""The target of injections into system calls."""
MAX_ARMED = 64


@attrs.frozen
class Listed:
    """A fault that is armed, for people: how many calls it might have struck, and did."""

    number: int
    text: str
    eligible: int
    injected: int
    spent: bool
    """It has struck as often as it was to (`times`)."""


@attrs.define(eq=False)
class Armed:
    """A fault with its counts. `strikes` decides; its owner then does what the fault says."""

    number: int
    fault: Fault | CallFault
    random: random.Random
    say: Callable[[str], None]
    eligible: int = 0
    injected: int = 0
    left: int = -1
    space: int = 0

    def strikes(self, size: int = 1) -> bool:
        """Whether this eligible event is struck, by the rules of Linux's should_fail().

        `size`: what it takes from `space`, bytes or calls.
        """
        fault = self.fault
        assert isinstance(fault, Fault)
        self.eligible += 1
        if not self.left:
            return False
        said = fault.attributes
        if self.space > 0:
            self.space -= size
            return False
        interval = int(said.get("interval", 1))
        if interval > 1 and self.eligible % interval:
            return False
        probability = float(said.get("probability", 100.0))
        if probability < 100.0 and self.random.random() * 100.0 >= probability:
            return False
        if self.left > 0:
            self.left -= 1
        self.struck()
        return True

    def struck(self) -> None:
        """Count an injection, and say so where it was asked for."""
        self.injected += 1
        fault = self.fault
        if isinstance(fault, Fault) and fault.attributes.get("verbose"):
            self.say(f"hardtack: fault {self.number} ({fault}) strikes, {self.injected}")


class Injector(Protocol):
    """The owner of a target, or of some kinds of faults of a target."""

    @property
    def kinds(self) -> Collection[str]:
        """Which: it is asked about no others, and told of no others."""

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """Why this fault cannot be, with what could; None where it can."""

    def arm(self, faults: Sequence[Armed]) -> None:
        """These faults are armed from now on, and no others."""


class FaultRegistry:
    """See the module's docstring; `say` prints a line for `verbose`."""

    def __init__(
        self, services: Collection[str], seed: int = 0, say: Callable[[str], None] = print
    ) -> None:
        self.services = tuple(services)
        self.say = say
        self._seed = seed
        self._armed: dict[int, Armed] = {}
        self._owners: dict[str, list[Injector]] = {}
        self._next = 1
        self._cleared: dict[tuple[str, str], int] = {}

    def own(self, target: str, injector: Injector) -> None:
        """`injector` does the faults of `target` from now on, those already armed too.

        FaultError: one of them it refuses. A target may have several owners, each with kinds of
        its own.
        """
        self._owners.setdefault(target, []).append(injector)
        mine = self._of(target, injector)
        for one in mine:
            self._check(one.fault)
        if mine:
            injector.arm(mine)

    def _of(self, target: str, injector: Injector) -> list[Armed]:
        kinds = injector.kinds
        armed = [one for one in self._armed.values() if target_of(one.fault) == target]
        return [one for one in armed if key_of(one.fault)[1] in kinds]

    def disown(self, target: str, injector: Injector) -> None:
        """The owner goes, its faults stay."""
        owners = self._owners.get(target, [])
        if injector in owners:
            owners.remove(injector)

    def add(self, spec: str | Fault | CallFault) -> int:
        """Arm a fault; its number. FaultError: it cannot be, and why."""
        fault = parse(spec, self.services) if isinstance(spec, str) else spec
        self._check(fault)
        if len(self._armed) >= MAX_ARMED:
            raise FaultError(f"fault {fault}: {MAX_ARMED} are armed (clear some of them)")
        number = self._next
        self._next += 1
        armed = Armed(number, fault, random.Random(f"{self._seed} {number} {fault}"), self.say)
        if isinstance(fault, Fault):
            armed.left = int(fault.attributes.get("times", 1 if fault.kind in ONCE else -1))
            armed.space = int(fault.attributes.get("space", 0))
        self._armed[number] = armed
        self.tell(target_of(fault))
        return number

    def _check(self, fault: Fault | CallFault) -> None:
        target, kind = key_of(fault)
        owners = self._owners.get(target, [])
        if reason := next((o.refuse(fault) for o in owners if kind in o.kinds), None):
            raise FaultError(f"fault {str(fault)!r}: {reason}")
        if owners and all(kind not in owner.kinds for owner in owners):
            known = ", ".join(sorted({name for owner in owners for name in owner.kinds}))
            raise FaultError(f"fault {str(fault)!r}: {target} cannot do that here (it can {known})")

    def list(self) -> tuple[Listed, ...]:
        """What is armed, in the order in which it was added."""
        return tuple(
            Listed(one.number, str(one.fault), one.eligible, one.injected, not one.left)
            for one in self._armed.values()
        )

    def clear(self, number: int | None = None) -> int:
        """Disarm one fault, or all of them; how many. FaultError: there is no such fault."""
        if number is not None and number not in self._armed:
            armed = ", ".join(map(str, self._armed)) or "none"
            raise FaultError(f"fault {number} is not armed (armed: {armed})")
        numbers = list(self._armed) if number is None else [number]
        gone = [self._armed.pop(one) for one in numbers]
        for one in gone:
            key = key_of(one.fault)
            self._cleared[key] = self._cleared.get(key, 0) + one.injected
        for target in dict.fromkeys(target_of(one.fault) for one in gone):
            self.tell(target)
        return len(gone)

    def tell(self, target: str) -> None:
        """Tell the owners of a target once more what is armed: one has been replaced, say."""
        for owner in tuple(self._owners.get(target, ())):
            owner.arm(self._of(target, owner))

    def injected(self) -> dict[tuple[str, str], int]:
        """Injections since boot by (target, kind), for the metrics page; cleared ones too."""
        counts = dict(self._cleared)
        for one in self._armed.values():
            key = key_of(one.fault)
            counts[key] = counts.get(key, 0) + one.injected
        return counts


def target_of(fault: Fault | CallFault) -> str:
    """Whose fault it is."""
    return CALLS if isinstance(fault, CallFault) else fault.target


def key_of(fault: Fault | CallFault) -> tuple[str, str]:
    """(target, kind): what injections are counted by."""
    if isinstance(fault, Fault):
        return fault.target, fault.kind
    if fault.error is not None or fault.retval is not None:
        return CALLS, "error" if fault.error is not None else "retval"
    return CALLS, "signal" if fault.signal else "delay"


__all__ = [
    "CALLS",
    "Armed",
    "CallFault",
    "Fault",
    "FaultError",
    "FaultRegistry",
    "Injector",
    "Listed",
    "key_of",
    "parse",
    "target_of",
]
