"""The plan, the ledger and the report of a campaign."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from boot.campaign import page
from boot.campaign.ledger import Ledger, Tally
from boot.campaign.report import as_text, p99, plottable, row_of, rows_of, write_json
from boot.campaign.strike import DRIVERS, KINDS, SERVICES, Outcome, plan
from boot.cli import main
from boot.topology import EMBEDDED
from bus.faultspec import parse

if TYPE_CHECKING:
    from pathlib import Path


def test_a_plan_has_every_fault_as_often_as_was_said_and_follows_its_seed() -> None:
    strikes = plan(SERVICES, KINDS, 7, 1)
    assert len(strikes) == len(SERVICES) * len(KINDS) * 7
    for service in SERVICES:
        for kind in KINDS:
            assert sum((one.group, one.kind) == (service, kind) for one in strikes) == 7
    assert plan(SERVICES, KINDS, 7, 1) == strikes
    assert plan(SERVICES, KINDS, 7, 2) != strikes
    assert {one.service for one in strikes if one.group == "drivers"} <= set(DRIVERS)
    for one in strikes:
        parse(one.fault, tuple(EMBEDDED.ranks))


@pytest.mark.parametrize(
    ("lines", "tally"),
    [
        (["shell 1", "sqlite 1", "shell 2"], Tally()),
        (["shell 1", "shell ! append"], Tally(failed=1)),
        (["shell 1", "shell 3", "shell 4"], Tally(lost_bytes=1)),
        (["shell 1", "shell 1"], Tally(lost_bytes=1)),
        (["sqlite lost 256 row 7: None"], Tally(lost_bytes=256)),
        (["she", "nonsense 4"], Tally(lost_bytes=4 + 11)),
    ],
)
def test_what_the_lines_of_the_loads_count_as(lines: list[str], tally: Tally) -> None:
    ledger = Ledger(("shell", "sqlite"))
    for line in lines:
        ledger.hear(line)
    assert ledger.tally() == tally
    assert len(ledger.notes) == bool(tally != Tally()) * (2 if "she" in lines else 1)


def outcomes() -> list[Outcome]:
    strikes = plan(("fs", "drivers"), ("crash", "delay"), 50, 3)
    found = [Outcome(one, struck=True, survived=True, slowest_s=0.5) for one in strikes]
    for at, one in enumerate(o for o in found if o.strike.kind == "crash"):
        one.recovered_s = at / 1000
    return found


def test_rows_add_up() -> None:
    found = outcomes()
    bad = next(one for one in found if one.strike.group == "fs")
    bad.survived, bad.why, bad.tally = False, "died", Tally(failed=2, lost_bytes=5)
    idle = next(one for one in found if one.strike.group == "drivers")
    idle.struck = idle.survived = False
    rows = {(row.service, row.fault): row for row in rows_of(found)}
    row = rows[bad.strike.group, bad.strike.kind]
    assert (row.injected, row.survived, row.kernel_deaths) == (50, 49, 1)
    assert (row.failed_calls, row.lost_bytes, row.good) == (2, 5, False)
    row = rows[idle.strike.group, idle.strike.kind]
    assert (row.injected, row.survived, row.not_struck, row.good) == (49, 49, 1, True)
    assert sum(row.injected for row in rows_of(found, drivers=True)) == 99
    assert row_of("fs", "delay", []).recovery_p99_s is None


def test_the_99th_percentile_is_a_sample() -> None:
    assert p99([]) is None
    assert p99([3.0]) == 3.0
    assert p99([float(n) for n in range(1, 201)]) == 198.0


def test_the_report_is_written(tmp_path: Path) -> None:
    found = outcomes()
    lines = as_text(rows_of(found)).splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["fs", "crash", "50"],
        ["fs", "delay", "50"],
        ["drivers", "crash", "50"],
        ["drivers", "delay", "50"],
    ]
    write_json(tmp_path / "campaign.json", found, {"seed": 3}, ["a note"])
    facts = {
        "seed": 3,
        "times": 50,
        "seconds": 90.0,
        "services": ["fs", "drivers"],
        "faults": list(KINDS),
        "options": ["--ram", "2G"],
        "rounds": {"shell": 1234},
        "values_found_after_a_boot": 5,
    }
    page.write(tmp_path / "campaign.md", rows_of(found), rows_of(found, drivers=True), facts)
    text = (tmp_path / "campaign.md").read_text()
    assert "hardtack campaign -n 50 --seed 3 --services fs,drivers -- --ram 2G" in text
    assert "**200 faults were injected, 200 survived; 0 kernel\ndeaths" in text
    assert "| fs | crash | 50 | 50 | 0 | 0 |" in text
    told = json.loads((tmp_path / "campaign.json").read_text())
    assert (told["seed"], len(told["rows"]), told["notes"]) == (3, 4, ["a note"])
    assert len(told["recoveries_s"]["fs crash"]) == 50


@pytest.mark.skipif(not plottable(), reason="no matplotlib")
def test_the_plot_is_drawn(tmp_path: Path) -> None:
    from boot.campaign.report import draw

    draw(outcomes(), tmp_path / "campaign.png")
    assert (tmp_path / "campaign.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--services", "fs,ghost"], "service 'ghost' is unknown"),
        (["--faults", "crash,burn"], "fault 'burn' is unknown"),
        (["-n", "0"], "0 times is no campaign"),
        (["-n", "many"], "many"),
        (["-o", "/proc/1/nowhere"], "/proc/1/nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["campaign", *words]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.startswith("hardtack: error: ")
    assert shown.count("\n") == 1
