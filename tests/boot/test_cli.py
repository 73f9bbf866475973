"""Does the command line teach, refuse on one line, and leave with the right status?"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import boot.kernel
from boot import VERSION
from boot.cli import main
from boot.options import build_parser, split_command, to_config
from bus.errors import PosixError

if TYPE_CHECKING:
    from boot.config import Config

ROOT = Path(__file__).parents[2]


def config_of(*words: str) -> Config:
    ours, command = split_command(words)
    return to_config(build_parser().parse_args(["run", *ours]), command)


@pytest.mark.parametrize(
    ("words", "ours", "command"),
    [
        (["--", "ls", "-l"], [], ("ls", "-l")),
        (["ls", "--ram", "2G"], [], ("ls", "--ram", "2G")),
        (["--ram", "2G", "ls", "-l"], ["--ram", "2G"], ("ls", "-l")),
        (["--ram=2G", "ls"], ["--ram=2G"], ("ls",)),
        (["-e", "A=1", "-eB=2", "ls"], ["-e", "A=1", "-eB=2"], ("ls",)),
        (["--stats", "ls"], ["--stats"], ("ls",)),
        (["--trace", "ls"], ["--trace=all"], ("ls",)),
        (["--trace=read", "--", "ls"], ["--trace=read"], ("ls",)),
        (["--stats", "--", "--odd"], ["--stats"], ("--odd",)),
        (["ls", "--", "x"], [], ("ls", "--", "x")),
        (["--ram"], ["--ram"], ()),
        ([], [], ()),
    ],
)
def test_the_border_between_ours_and_the_programs(
    words: list[str], ours: list[str], command: tuple[str, ...]
) -> None:
    assert split_command(words) == (ours, command)


def test_every_option_that_takes_no_value_is_known_to_the_splitter() -> None:
    from boot.options import _FLAGS

    run = build_parser()._subparsers._group_actions[0].choices["run"]  # type: ignore[union-attr,index]
    flags = {word for act in run._actions if act.nargs == 0 for word in act.option_strings}
    assert flags == _FLAGS


def test_options_become_a_configuration(tmp_path: Path) -> None:
    config = config_of(
        *("--root", f"{tmp_path}:rw", "--bind", f"{tmp_path}:/data:rw", "-w", "/data"),
        *("-u", "7:8", "--ram", "64M", "--heap", "32M", "--seed", "3", "--stats"),
        *("-e", "A=1", "--trace", "--trace-file", str(tmp_path / "t"), "--metrics", "9100"),
        *("prog", "--stats"),
    )
    assert (config.root, config.root_writable) == (str(tmp_path), True)
    assert config.binds[0].guest == "/data"
    assert (config.uid, config.gid, config.workdir) == (7, 8, "/data")
    assert (config.ram_bytes, config.heap_bytes, config.seed) == (64 << 20, 32 << 20, 3)
    assert config.trace == "all"
    assert config.stats
    assert ("A", "1") in config.env
    assert config.metrics is not None
    assert config.argv == ("prog", "--stats")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "no program to run"),
        (["run", "--ram", "1M", "--", "ls"], "RAM of 1,048,576 bytes"),
        (["run", "--ram", "much", "--", "ls"], "size 'much'"),
        (["run", "--root", "/nowhere", "--", "ls"], "no directory of this host"),
        (["run", "--bind", "x", "--", "ls"], "HOST:GUEST"),
        (["run", "--cores", "4", "--", "ls"], "one core"),
        (["run", "--cores", "x", "--", "ls"], "invalid int value"),
        (["run", "--bogus", "--", "ls"], "--bogus"),
        (["run", "--ro", "/", "--", "ls"], "--ro"),
        (["sail"], "sail"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.startswith("hardtack: error: ")
    assert shown.err.count("\n") == 1
    assert "(" in shown.err


def test_help_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    for words in ("hardtack run --root", "HARDTACK_DEBUG", "--trace[=SET]", "exit status"):
        assert words in shown
    assert main([]) == 2


def test_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert capsys.readouterr().out == f"hardtack {project['version']}\n"
    assert project["version"] == VERSION


def test_graph_shows_every_service_and_edge(capsys: pytest.CaptureFixture[str]) -> None:
    from boot.topology import EMBEDDED

    assert main(["graph"]) == 0
    text = capsys.readouterr().out
    assert main(["graph", "--dot"]) == 0
    dot = capsys.readouterr().out
    for spec in EMBEDDED.services:
        assert spec.name in text
        for peer in spec.peers:
            assert f"  {spec.name} -> {peer};" in dot


@pytest.mark.parametrize(
    ("number", "status", "cure"),
    [(2, 127, "is it there"), (13, 126, "x86-64"), (8, 126, "x86-64"), (20, 127, "is it there")],
)
def test_programs_that_cannot_be_run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    status: int,
    cure: str,
) -> None:
    async def refuse(config: Config, **_: object) -> int:
        raise PosixError(number)

    monkeypatch.setattr(boot.kernel, "run_kernel", refuse)
    assert main(["run", "--", "/x"]) == status
    shown = capsys.readouterr().err
    assert shown.startswith("hardtack: error: cannot run '/x'")
    assert cure in shown


def test_no_traceback_reaches_the_user_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(config: Config, **_: object) -> int:
        raise ExceptionGroup("a nursery", [RuntimeError("first\nsecond")])

    monkeypatch.setattr(boot.kernel, "run_kernel", fail)
    monkeypatch.delenv("HARDTACK_DEBUG", raising=False)
    assert main(["run", "--", "/x"]) == 70
    assert "RuntimeError: first second" in capsys.readouterr().err
    monkeypatch.setenv("HARDTACK_DEBUG", "1")
    with pytest.raises(ExceptionGroup):
        main(["run", "--", "/x"])


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["version"]])
def test_nothing_heavy_is_imported_to_help(words: list[str]) -> None:
    heavy = ("trio", "numpy", "unicorn", "rich", "typer", "click", "prometheus_client")
    script = (
        "import sys; from boot.cli import main; main(sys.argv[1:]);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"
