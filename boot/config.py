"""What a kernel is booted with, and the checks that turn a user's words into it.

Every refusal is a `ConfigError` that names what is wrong, why, and what to do; the command line
prints it on one line and leaves with status 2 (as a shell's usage errors do).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE_BYTES = 4096
MIN_RAM_BYTES = 16 * MIB
MIN_HEAP_BYTES = 16 * MIB
MAX_RAM_BYTES = 64 * GIB
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1 << 40}


class ConfigError(Exception):
    """The configuration cannot be booted: cause and cure."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause} ({cure})")


@attrs.frozen
class Bind:
    """A directory or file of the host, shown to the guest at `guest`."""

    host: str
    guest: str
    writable: bool = False


@attrs.frozen
class Address:
    """Where the metrics page listens."""

    host: str
    port: int


@attrs.frozen
class Config:
    """All that a boot is decided by. `validate` says whether it can be."""

    argv: tuple[str, ...]
    root: str = "/"
    root_writable: bool = False
    binds: tuple[Bind, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    workdir: str = "/"
    uid: int = 0
    gid: int = 0
    ram_bytes: int = GIB
    heap_bytes: int = 256 * MIB
    cores: int = 1
    trace: str | None = None
    """Which system calls are traced, in strace's words; None for none."""
    trace_file: str | None = None
    """Where the trace goes; None for standard error."""
    stats: bool = False
    seed: int | None = None
    metrics: Address | None = None


def parse_size(text: str) -> int:
    """Bytes of "512M", "1.5G", "64KiB" or "4096"."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"size {text!r} is not a number with a unit", "write 512M, 1G or 65536")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_root(text: str) -> tuple[str, bool]:
    """DIR, DIR:ro or DIR:rw; the host's absolute path and whether the guest may write."""
    path, mode = text, "ro"
    if text.endswith((":rw", ":ro")):
        path, mode = text[:-3], text[-2:]
    if not path:
        raise ConfigError(f"root {text!r} names no directory", "write --root ./debian")
    return os.path.abspath(path), mode == "rw"


def parse_bind(text: str) -> Bind:
    """HOST:GUEST, or HOST:GUEST:rw (ro is the default)."""
    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "ro"
    if len(parts) != 2 or not all(parts) or mode not in ("ro", "rw"):
        raise ConfigError(
            f"bind {text!r} is not HOST:GUEST[:rw]", "write --bind /srv/data:/data:rw"
        )
    host, guest = parts
    if not guest.startswith("/"):
        raise ConfigError(
            f"bind {text!r}: the guest's path {guest!r} is relative", "start it with /"
        )
    return Bind(os.path.abspath(host), os.path.normpath(guest), mode == "rw")


def parse_user(text: str) -> tuple[int, int]:
    """UID or UID:GID, numbers; GID is UID's where it is left out."""
    match = re.fullmatch(r"(\d{1,10})(?::(\d{1,10}))?", text)
    if match is None or max(int(match[1]), int(match[2] or 0)) >= 2**32 - 1:
        raise ConfigError(f"user {text!r} is not UID[:GID]", "write numbers: --user 1000:1000")
    return int(match[1]), int(match[2] or match[1])


def parse_env(text: str, host: Mapping[str, str]) -> tuple[str, str] | None:
    """K=V, or K for the host's own value; None where the host has none."""
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise ConfigError(f"environment {text!r} is not K=V or K", "write -e LANG=C.UTF-8")
    if equals:
        return name, value
    return (name, host[name]) if name in host else None


def parse_address(text: str) -> Address:
    """PORT or HOST:PORT; the host defaults to this machine alone."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(
            f"metrics address {text!r} is not [HOST:]PORT", "write --metrics 9100 or 0.0.0.0:9100"
        )
    return Address(host.strip("[]") or "127.0.0.1", int(port))


def guest_env(
    settings: Iterable[str], uid: int, host: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """The program's environment: a small default, TERM of the host's, and then the settings."""
    env = {
        "PATH": DEFAULT_PATH,
        "HOME": "/root" if uid == 0 else "/",
        "TERM": host.get("TERM", "dumb"),
    }
    for setting in settings:
        pair = parse_env(setting, host)
        if pair is not None:
            env[pair[0]] = pair[1]
    return tuple(env.items())


def validate(config: Config) -> Config:
    """This configuration, checked against itself and the host; ConfigError where it cannot be."""
    if not config.argv or not config.argv[0]:
        raise ConfigError("no program to run", "write hardtack run -- PROGRAM ARG…")
    _check_sizes(config)
    if config.cores != 1:
        raise ConfigError(
            f"--cores {config.cores}: this version runs one core", "leave --cores out, or say 1"
        )
    if not config.workdir.startswith("/"):
        raise ConfigError(
            f"working directory {config.workdir!r} is relative",
            "start it with /, as the guest sees it",
        )
    _check_trace(config)
    _check_host_paths(config)
    return config


def _check_trace(config: Config) -> None:
    if not config.trace:
        return
    from services.proc.strace import parse_set

    try:
        parse_set(config.trace)
    except ValueError as error:
        raise ConfigError(
            f"trace set: {error}", "names, or %file %process %network %signal %desc %memory"
        ) from None


def _check_sizes(config: Config) -> None:
    ram, heap = config.ram_bytes, config.heap_bytes
    if not MIN_RAM_BYTES <= ram <= MAX_RAM_BYTES:
        raise ConfigError(
            f"RAM of {ram:,} bytes is not within {MIN_RAM_BYTES // MIB}M..{MAX_RAM_BYTES // GIB}G",
            "say --ram 512M, for example",
        )
    if ram % PAGE_BYTES:
        raise ConfigError(
            f"RAM of {ram:,} bytes is no multiple of the page size, {PAGE_BYTES}",
            f"say --ram {ram - ram % PAGE_BYTES}",
        )
    if heap < MIN_HEAP_BYTES:
        raise ConfigError(
            f"a kernel heap of {heap:,} bytes is less than {MIN_HEAP_BYTES // MIB}M",
            "say --heap 64M, for example",
        )


def _check_host_paths(config: Config) -> None:
    if not os.path.isdir(config.root):
        raise ConfigError(
            f"root {config.root!r} is no directory of this host", "name an existing one with --root"
        )
    if config.root_writable and not os.access(config.root, os.W_OK):
        raise ConfigError(f"root {config.root!r} cannot be written", "leave :rw out, or ls -ld it")
    if not os.access(config.root, os.R_OK | os.X_OK):
        raise ConfigError(f"root {config.root!r} cannot be read", "check its permissions (ls -ld)")
    for bind in config.binds:
        if not os.path.exists(bind.host):
            raise ConfigError(
                f"bind: {bind.host!r} does not exist on this host", "create it, or correct --bind"
            )
        if not os.access(bind.host, os.W_OK if bind.writable else os.R_OK):
            need = "written" if bind.writable else "read"
            raise ConfigError(
                f"bind: {bind.host!r} cannot be {need}", "check its permissions (ls -ld)"
            )
    if config.trace_file is not None:
        folder = os.path.dirname(os.path.abspath(config.trace_file))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(
                f"trace file {config.trace_file!r}: its directory cannot be written",
                "name another with --trace-file",
            )
