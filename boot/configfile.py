"""`hardtack run --config FILE`: the options of `hardtack run` as a TOML file.

    ram = "2G"
    publish = ["8080:80", "6379:6379"]
    stats = true
    fault = ["net:delay,time=20ms,probability=5", "read:error=EINTR:when=10+100"]
    command = ["/bin/sh", "-c", "..."]

    [env]
    LANG = "C.UTF-8"

A key is an option's long name without the dashes. What the command line says as well comes after
the file: it wins, or is added where the option is repeatable.
"""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING

from boot.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

COMMAND = "command"


def read(
    path: str, options: Collection[str], flags: Collection[str]
) -> tuple[list[str], tuple[str, ...]]:
    """(the words that the file stands for, its program); ConfigError: what is wrong with it.

    `options` are the long names that there are; those in `flags` take no value.
    """
    try:
        with open(path, "rb") as file:
            said = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"configuration {path!r}: {error.strerror}", "name a file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"configuration {path!r}: {reason}", "it is TOML") from None
    command: tuple[str, ...] = ()
    words: list[str] = []
    for key, value in said.items():
        where = f"configuration {path!r}: {key}"
        if key == COMMAND:
            command = tuple(_texts(value, where))
        elif key in flags and isinstance(value, bool):
            words += [f"--{key}"] if value else []
        elif key in options and key not in flags:
            words += [f"--{key}={text}" for text in _values(value, where)]
        elif key in flags:
            raise ConfigError(f"{where} is {value!r}", "say true or false")
        else:
            near = difflib.get_close_matches(key, [*options, COMMAND], 1)
            cure = f"did you mean {near[0]}?" if near else "see hardtack run --help"
            raise ConfigError(f"{where} is no option", cure)
    return words, command


def _texts(value: object, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        raise ConfigError(f"{where} is no list", 'write ["/bin/sh", "-c", "date"]')
    for one in value:
        if not isinstance(one, str):
            raise ConfigError(f"{where}: {one!r} is no string", "put it in quotes")
        yield one


def _values(value: object, where: str) -> Iterator[str]:
    """What an option is given: once, for each of a list, or NAME=VALUE for each of a table."""
    if isinstance(value, bool):
        yield "on" if value else "off"
    elif isinstance(value, str | int | float):
        yield str(value)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, list | dict):
                raise ConfigError(f"{where} has a list in a list", "strings and numbers only")
            yield from _values(one, where)
    elif isinstance(value, dict):
        for name, one in value.items():
            for text in _values(one, f"{where}.{name}"):
                yield f"{name}={text}"
    else:
        raise ConfigError(f"{where} is {value!r}", "strings, numbers and true or false only")
