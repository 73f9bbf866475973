"""All the commands, by name."""

from __future__ import annotations

from tests.programs.commands import (
    accounting,
    administration,
    archives,
    busybox,
    files,
    languages,
    network,
    process,
    procfs_access,
    python,
    python_files,
    python_system,
    shell,
    sockets,
    stress,
    text,
    tools,
)

_MODULES = (
    accounting,
    files,
    text,
    busybox,
    shell,
    process,
    procfs_access,
    archives,
    python,
    python_files,
    python_system,
    sockets,
    stress,
    tools,
    network,
    languages,
    administration,
)
COMMANDS = {command.name: command for module in _MODULES for command in module.COMMANDS}
"""Every command by its name, in the order of the files."""

if len(COMMANDS) != sum(len(module.COMMANDS) for module in _MODULES):
    raise ValueError("two commands have one name")
