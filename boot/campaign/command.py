"""The command itself: plan, boot, strike, compare, report; over again where a kernel dies."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from boot import VERSION
from boot.campaign import inside, page, report
from boot.campaign.kernel import KernelDied, LoadedKernel, look_for_everything, make_image
from boot.campaign.ledger import Ledger
from boot.campaign.loads import Expected
from boot.campaign.strike import KINDS, SERVICES, Outcome, Strike, Striker, plan
from boot.config import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType

LOADS = ("nginx", "redis", "shell", "sqlite", "script")
SAVE_EVERY = 25


def chosen(text: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    """Names after commas. ConfigError: one is unknown."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in known:
            raise ConfigError(f"campaign: {what} {name!r} is unknown", f"say {', '.join(known)}")
    return names


class Campaign:
    """One of them, in a folder of its own."""

    def __init__(
        self, folder: Path, strikes: Sequence[Strike], output: Path, options: Sequence[str]
    ) -> None:
        self._folder, self._strikes, self._output = folder, strikes, output
        self._options = options
        self.ledger = Ledger(LOADS)
        self.outcomes: list[Outcome] = []
        self.values = 0
        """Acknowledged ones that were looked for after a boot."""
        self.facts: dict[str, object] = {}
        self._began_s = time.monotonic()

    def run(self) -> None:
        """All strikes, with as many kernels as it takes."""
        while len(self.outcomes) < len(self._strikes):
            before = len(self.outcomes)
            make_image(self._folder)
            expected = Expected()
            try:
                self._one_kernel(expected)
            except KernelDied as died:
                if len(self.outcomes) == before:
                    raise  # it does not even start
                self._say(f"the kernel died: {died}")
            self._compare(expected)
            self.save()

    def _one_kernel(self, expected: Expected) -> None:
        with LoadedKernel(self._folder, self.ledger, expected, self._options) as kernel:
            kernel.begin()
            striker = Striker(kernel, self.ledger)
            try:
                for strike in self._strikes[len(self.outcomes) :]:
                    outcome = striker.strike(strike)
                    self.outcomes.append(outcome)
                    self._tell(outcome)
                    if len(self.outcomes) % SAVE_EVERY == 0:
                        self.save()
            except KernelDied:
                if striker.last is not None and striker.last not in self.outcomes:
                    self.outcomes.append(striker.last)
                    self.ledger.note(f"kernel: died of {striker.last.strike.fault}")
                for line in kernel.complaints()[-20:]:
                    self.ledger.note(f"kernel: {line}")
                raise
        if kernel.child.returncode:
            self._last_of_all().why = f"status {kernel.child.returncode}: {kernel.last_words()}"

    def _last_of_all(self) -> Outcome:
        return self.outcomes[-1]

    def _compare(self, expected: Expected) -> None:
        """What was acknowledged by this kernel, looked for by the next; the last strike answers."""
        before = self.ledger.tally()
        rows = self.ledger.rounds["sqlite"]
        try:
            self.values += look_for_everything(
                self._folder, self.ledger, expected, rows, self._options
            )
        except (KernelDied, OSError, ValueError) as error:
            self.ledger.fail("kernel", f"what was acknowledged cannot be read: {error}")
        found = self.ledger.tally().since(before)
        tally = self._last_of_all().tally
        tally.failed += found.failed
        tally.lost_bytes += found.lost_bytes

    def _tell(self, outcome: Outcome) -> None:
        done, of = len(self.outcomes), len(self._strikes)
        left_s = (time.monotonic() - self._began_s) / done * (of - done)
        if not outcome.struck:
            what = "did not strike"
        elif outcome.recovered_s is not None:
            what = f"back after {outcome.recovered_s * 1e3:.1f} ms"
        else:
            what = "survived"
        tally = outcome.tally
        if tally.failed or tally.lost_bytes:
            what += f"; {tally.failed} calls failed, {tally.lost_bytes} bytes lost"
        self._say(f"{done}/{of}  {outcome.strike.fault}  {what}  ({_left(left_s)} left)")

    def _say(self, text: str) -> None:
        if sys.stdout.isatty():
            print(f"\r\033[K{text}", end="", flush=True)
        elif not len(self.outcomes) % 10 or "died" in text or "failed" in text:
            print(text, flush=True)

    def all_facts(self) -> dict[str, object]:
        """About all of it, so far."""
        return {
            **self.facts,
            "seconds": time.monotonic() - self._began_s,
            "rounds": self.ledger.total,
            "values_found_after_a_boot": self.values,
        }

    def save(self) -> None:
        """What is known so far, as JSON and as a page."""
        facts, outcomes = self.all_facts(), self.outcomes
        report.write_json(self._output / "campaign.json", outcomes, facts, self.ledger.notes)
        drivers = report.rows_of(outcomes, drivers=True)
        page.write(self._output / "campaign.md", report.rows_of(outcomes), drivers, facts)

    def tell_all(self) -> bool:
        """Print the table and write the files; whether nobody noticed anything."""
        rows = report.rows_of(self.outcomes)
        if sys.stdout.isatty():
            print("\r\033[K", end="")
        print(report.as_text(rows))
        rounds = ", ".join(f"{name} {count:,}" for name, count in self.ledger.total.items())
        print(f"\nrounds of the load: {rounds}")
        print(f"acknowledged values looked for after a fresh boot: {self.values:,}")
        self.save()
        print(f"wrote {self._output / 'campaign.md'}, {self._output / 'campaign.json'}", end="")
        if report.plottable():
            report.draw(self.outcomes, self._output / "campaign.png")
            print(f" and {self._output / 'campaign.png'}")
        else:
            print(" (no plot: matplotlib is not installed)")
        return all(row.good for row in rows)


def _left(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes >= 60 else f"{minutes} min"


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def campaign(options: argparse.Namespace) -> int:
    """`hardtack campaign`; the exit status: 0 if nobody noticed anything, else 1."""
    services = chosen(options.services, SERVICES, "service")
    kinds = chosen(options.faults, KINDS, "fault")
    if options.number < 1:
        raise ConfigError(f"campaign: {options.number} times is no campaign", "say -n 1 or more")
    inside.need()
    output = Path(options.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{options.output!r}: {error.strerror}", "name a directory") from None
    before = signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="hardtack-campaign-") as folder:
            inside.write_guests(Path(folder))
            strikes = plan(services, kinds, options.number, options.seed)
            run = Campaign(Path(folder), strikes, output, options.words)
            run.facts = {
                "version": VERSION,
                "seed": options.seed,
                "times": options.number,
                "services": list(services),
                "faults": list(kinds),
                "options": list(options.words),
            }
            return _run(run)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(run: Campaign) -> int:
    try:
        run.run()
    except KernelDied as died:
        print(f"hardtack: error: the kernel under load did not start: {died}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if run.outcomes:
            print(f"\nstopped after {len(run.outcomes)} faults", flush=True)
            run.tell_all()
        return 130
    return 0 if run.tell_all() else 1
