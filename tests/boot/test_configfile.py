"""`hardtack run --config`: options from a file, what the command line adds, what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from boot.cli import main
from boot.config import ConfigError
from boot.options import build_parser, split_command, to_config, with_file

if TYPE_CHECKING:
    from pathlib import Path

    from boot.config import Config

GOOD = """
ram = "64M"
seed = 7
stats = true
workdir = "/tmp"
fault = ["net:delay,time=20ms,probability=5", "read:error=EINTR:when=10+100"]
inject = ["openat:error=ENOENT:when=3"]
command = ["/bin/sh", "-c", "exit 3"]

[env]
LANG = "C.UTF-8"
"""


def config_of(text: str, path: Path, *words: str) -> Config:
    file = path / "hardtack.toml"
    file.write_text(text)
    return to_config(*with_file(build_parser(), *split_command(["--config", str(file), *words])))


def test_a_file_says_what_the_options_say(tmp_path: Path) -> None:
    config = config_of(GOOD, tmp_path)
    assert (config.ram_bytes, config.seed, config.stats) == (64 << 20, 7, True)
    assert (config.workdir, config.argv) == ("/tmp", ("/bin/sh", "-c", "exit 3"))
    assert ("LANG", "C.UTF-8") in config.env
    assert sorted(config.faults) == [
        "inject=openat:error=ENOENT:when=3",
        "inject=read:error=EINTR:when=10+100",
        "net:delay,time=0.02s,probability=5",
    ]


def test_the_command_line_wins_and_adds(tmp_path: Path) -> None:
    config = config_of(
        GOOD, tmp_path, "--ram", "32M", "--fault", "fs:crash,interval=9", "--", "/bin/true"
    )
    assert (config.ram_bytes, config.argv) == (32 << 20, ("/bin/true",))
    assert len(config.faults) == 4
    assert "fs:crash,interval=9" in config.faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ram = ", "it is TOML"),
        ("rams = '1G'", "rams is no option.*did you mean ram"),
        ("config = 'x'", "config is no option"),
        ("stats = 'yes'", "say true or false"),
        ("command = 'ls'", "command is no list"),
        ("command = [1]", "1 is no string"),
        ("env = [['A']]", "a list in a list"),
        ("hostname = 2020-01-01", "strings, numbers"),
        ("fault = 'fs:dance'\ncommand = ['ls']", "dance"),
        ("fault = 'nobody:crash'\ncommand = ['ls']", "nobody"),
        ("ram = '64M'", "no program to run"),
    ],
)
def test_what_a_file_cannot_say(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        config_of(text, tmp_path)


def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("nowhere", "bytes", "."):
        assert main(["run", "--config", str(tmp_path / name), "--", "ls"]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("hardtack: error: configuration ")
        assert shown.count("\n") == 1
