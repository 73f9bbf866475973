"""One fault after the other, in an order and at moments that the seed decides."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import attrs

from boot.campaign.kernel import KernelDied, wait_for
from boot.campaign.ledger import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from boot.campaign.kernel import LoadedKernel
    from boot.campaign.ledger import Ledger

SERVICES = ("vm", "fs", "net", "drivers", "killer", "proc", "script")
DRIVERS = ("clock", "console", "disk", "entropy", "hosttree", "nic")
KINDS = ("crash", "hang", "delay")
STRUCK_S, BACK_S, GO_ON_S = 3.0, 20.0, 40.0
UNFAILED_S = 5.0
MOST_WAIT_S, MOST_SPACE = 0.3, 60


@attrs.frozen
class Strike:
    """What is to be done: a fault of a service, which for `drivers` is one of them."""

    group: str
    kind: str
    service: str
    wait_s: float
    """Before it."""
    attributes: str

    @property
    def fault(self) -> str:
        """In the words of `hardtack fault`."""
        return f"{self.service}:{self.kind},{self.attributes}"


@attrs.define
class Outcome:
    """What came of it."""

    strike: Strike
    struck: bool = False
    survived: bool = False
    """The kernel lives, the service is there again, and every program has gone on."""
    recovered_s: float | None = None
    """From the failure until it was served again; of a hang, from its beginning."""
    slowest_s: float = 0.0
    """The longest request from outside meanwhile."""
    tally: Tally = attrs.field(factory=Tally)
    why: str = ""


def plan(
    services: Sequence[str], kinds: Sequence[str], times: int, seed: int
) -> tuple[Strike, ...]:
    """Every service and fault, `times` each, shuffled."""
    chance = random.Random(seed)
    order = [(group, kind) for group in services for kind in kinds for _ in range(times)]
    chance.shuffle(order)
    return tuple(_strike(group, kind, chance) for group, kind in order)


def _strike(group: str, kind: str, chance: random.Random) -> Strike:
    service = chance.choice(DRIVERS) if group == "drivers" else group
    space = chance.randrange(MOST_SPACE) if chance.random() < 0.5 else 0
    said = "times=1"
    if kind == "crash":
        said += ",at=any"
    elif kind == "delay":
        said = f"times={chance.randint(1, 8)},time={chance.randint(2, 150)}ms"
    if space and service in ("vm", "fs", "net", "clock", "hosttree", "console", "disk"):
        said += f",space={space}"
    return Strike(group, kind, service, chance.uniform(0, MOST_WAIT_S), said)


class Striker:
    """Strikes one kernel, and watches what the ledger tells of it."""

    def __init__(self, kernel: LoadedKernel, ledger: Ledger) -> None:
        self._kernel, self._ledger = kernel, ledger
        self._failed_calls = 0
        self.last: Outcome | None = None
        """Of the strike that is under way, or was."""

    def strike(self, strike: Strike) -> Outcome:
        """Do it, and see it over. KernelDied: the kernel did not live through it."""
        self.last = outcome = Outcome(strike)
        time.sleep(strike.wait_s)
        before, kernel, ledger = self._ledger.tally(), self._kernel, self._ledger
        ledger.slowest_s()
        generation = self._state(strike.service)["generation"]
        try:
            number = int(kernel.ask("fault-add", spec=strike.fault))
            outcome.struck = self._was_struck(number)
            if outcome.struck and strike.kind != "delay":
                outcome.recovered_s = self._recovered_s(strike.service, int(str(generation)))
                outcome.struck = outcome.recovered_s is not None
            kernel.ask("fault-clear", number=number)
            self._all_go_on()
            outcome.survived = outcome.struck
        except KernelDied as died:
            outcome.why = str(died)
            outcome.struck = True
            raise
        finally:
            outcome.slowest_s = ledger.slowest_s()
            outcome.tally = ledger.tally().since(before)
        return outcome

    def _state(self, service: str) -> dict[str, object]:
        told = self._kernel.ask("services")
        failed = int(told["failed_calls"])
        if failed != self._failed_calls:
            self._ledger.find_nobody(failed - self._failed_calls, service)
            self._failed_calls = failed
        found: dict[str, object] = next(s for s in told["services"] if s["name"] == service)
        return found

    def _was_struck(self, number: int) -> bool:
        """Until it has struck, and as often as it is to: a while; then at least once."""
        deadline_s = time.monotonic() + STRUCK_S
        while True:
            armed = self._kernel.ask("fault-list")["armed"]
            injected, spent = next((row[3], row[4]) for row in armed if row[0] == number)
            if spent or time.monotonic() > deadline_s:
                return bool(injected)
            time.sleep(0.02)

    def _recovered_s(self, service: str, generation: int) -> float | None:
        """None: it has not even failed, as the call that is to end first (`at=end`) waits."""
        found: dict[str, object] = {}
        began_s = time.monotonic()

        def back() -> bool:
            found.update(self._state(service))
            if int(str(found["generation"])) > generation:
                return not found["failing"]
            return not found["failing"] and time.monotonic() - began_s > UNFAILED_S

        wait_for(self._kernel, f"{service} is not back", back, BACK_S)
        failed = int(str(found["generation"])) > generation
        return float(str(found["recovered_s"])) if failed else None

    def _all_go_on(self) -> None:
        before = dict(self._ledger.rounds)

        def all_moved() -> bool:
            return all(self._ledger.rounds[load] > count for load, count in before.items())

        try:
            wait_for(self._kernel, "not every program goes on", all_moved, GO_ON_S)
        except KernelDied as died:
            still = [load for load, count in before.items() if self._ledger.rounds[load] == count]
            raise KernelDied(f"{died}: {', '.join(still)}") from None
