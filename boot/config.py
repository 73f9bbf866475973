"""What a kernel is booted with, and the checks that turn a user's words into it.

Every refusal is a `ConfigError` that names what is wrong, why, and what to do; the command line
prints it on one line and leaves with status 2 (as a shell's usage errors do).
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

import attrs

from bus.faultspec import FaultError
from services.drivers.nic.settings import Network, Published
from services.script.api import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE_BYTES = 4096
MIN_RAM_BYTES = 16 * MIB
MIN_HEAP_BYTES = 4 * MIB
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
class Control:
    """Where the kernel takes commands (boot/control)."""

    path: str | None = None
    """Its Unix socket; None: in the user's runtime directory, by `name`."""
    name: str | None = None
    address: Address | None = None
    """Where it also listens for TLS; the files then say who may come, and who it is."""
    token_file: str = ""
    certificate: str = ""
    key: str = ""


@attrs.frozen
class Image:
    """A disk image, mounted at `guest` (/ in place of the host's root); or a disk in memory."""

    path: str
    guest: str = "/"
    writable: bool = True
    sync: bool = False
    """Each change is durable before it is over (mount -o sync)."""
    memory_bytes: int = 0
    """Not 0: there is no file, and the disk goes with the kernel."""


@attrs.frozen
class Config:
    """All that a boot is decided by. `validate` says whether it can be."""

    argv: tuple[str, ...]
    root: str = "/"
    root_writable: bool = False
    image: Image | None = None
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
    heap_faults: float | None = None
    """Probability that a reservation fails; 0: each way to one fails once; None: none does."""
    faults: tuple[str, ...] = ()
    """What is injected from the first program's start on, in the words of bus/faultspec.py."""
    protected: tuple[str, ...] = ()
    """Names of programs that the killer spares."""
    stats: bool = False
    seed: int | None = None
    metrics: Address | None = None
    control: Control | None = None
    restarts: tuple[int, float] | None = None
    """How often a service may fail, and within how many seconds; None: as its topology says."""
    network: Network = attrs.field(factory=Network)
    published: tuple[Published, ...] = ()
    hostname: str = "hardtack"
    script_limits: Limits = attrs.field(factory=Limits)
    """Of each Lua state that a program puts into the kernel."""
    pcap: str | None = None
    """Where every frame that crosses the network card is written, for Wireshark."""


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


def parse_image(text: str | None) -> Image | None:
    """FILE, or mem:SIZE; with :GUEST where it is not /, and with :ro or :sync."""
    if text is None:
        return None
    parts = text.split(":")
    how = parts.pop() if parts[-1] in ("ro", "rw", "sync") and len(parts) > 1 else "rw"
    memory_bytes = 0
    if parts[0] == "mem" and len(parts) > 1:
        memory_bytes = parse_size(parts[1])
        parts[:2] = ["mem:" + parts[1]]
    guest = parts[1] if len(parts) == 2 else "/mnt" if memory_bytes else "/"
    if len(parts) > 2 or not parts[0] or not guest.startswith("/"):
        raise ConfigError(
            f"image {text!r} is not FILE[:GUEST][:ro|:sync] or mem:SIZE[:GUEST]",
            "write --image disk.ext4, or --image data.ext4:/data",
        )
    path = parts[0] if memory_bytes else os.path.abspath(parts[0])
    return Image(path, os.path.normpath(guest), how != "ro", how == "sync", memory_bytes)


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


def parse_heap_faults(text: str | None) -> float | None:
    """`once` is 0, a probability is itself, nothing is None."""
    if text is None or text == "once":
        return None if text is None else 0.0
    try:
        odds = float(text)
    except ValueError:
        odds = -1.0
    if not 0 < odds < 1:
        raise ConfigError(f"heap faults {text!r}", "say once, or a probability such as 0.1")
    return odds


MIN_SCRIPT_BYTES = 256 * KIB
"""The functions that scripts see take half of that."""


def parse_script_limits(jit: str, memory: str, time_ms: str) -> Limits:
    """on or off, a size, milliseconds."""
    memory_bytes = parse_size(memory)
    if jit not in ("on", "off"):
        raise ConfigError(f"script JIT {jit!r} is neither on nor off", "say --script-jit off")
    if not MIN_SCRIPT_BYTES <= memory_bytes <= GIB:
        raise ConfigError(
            f"script memory of {memory_bytes:,} bytes is not within 256K..1G",
            "say --script-memory 1M",
        )
    if not (time_ms.isascii() and time_ms.isdecimal() and 1 <= int(time_ms) <= 3_600_000):
        raise ConfigError(
            f"script time {time_ms!r} is no number of milliseconds up to an hour",
            "say --script-time 1000",
        )
    return Limits(memory_bytes, int(time_ms) * 1_000_000, jit == "on")


def refusal(error: FaultError) -> ConfigError:
    """A fault that cannot be, as the command line says it."""
    cause, _, cure = str(error).rpartition(" (")
    return ConfigError(cause or str(error), cure.removesuffix(")") or "see --help")


def parse_inject(text: str) -> str:
    """An injection into system calls, in strace's words; ConfigError says what would be valid."""
    from bus.faultspec import parse_calls
    from services.proc.inject import refusal as refuse

    try:
        if reason := refuse(parse_calls(text)):
            raise FaultError(f"fault {text!r}: {reason}")
    except FaultError as error:
        raise refusal(error) from None
    return text if text.startswith(("inject=", "fault=")) else f"inject={text}"


def parse_fault(text: str) -> str:
    """A fault of a service, a device or system calls; ConfigError says what would be valid."""
    from boot.topology import EMBEDDED
    from bus.faultspec import CallFault, parse

    try:
        fault = parse(text, tuple(EMBEDDED.ranks))
    except FaultError as error:
        raise refusal(error) from None
    return parse_inject(text) if isinstance(fault, CallFault) else str(fault)


def parse_address(
    text: str, what: str = "metrics address", example: str = "--metrics 9100 or 0.0.0.0:9100"
) -> Address:
    """PORT or HOST:PORT; the host defaults to this machine alone."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{what} {text!r} is not [HOST:]PORT", f"write {example}")
    return Address(host.strip("[]") or "127.0.0.1", int(port))


def parse_restarts(text: str | None) -> tuple[int, float] | None:
    """N/SECONDS."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})s?", text)
    if match is None or not int(match[2]):
        raise ConfigError(f"restarts {text!r} is not N/SECONDS", "write --restarts 12/10")
    return int(match[1]), float(match[2])


def parse_control(
    path: str | None, name: str | None, listen: str | None, files: tuple[str, str, str]
) -> Control | None:
    """--control, --name, --control-listen, and token, certificate and key; `none` for none."""
    from boot.control.place import check_name
    from boot.control.wire import ControlError

    if path == "none":
        if name is not None or listen is not None:
            raise ConfigError(
                "--control none leaves nothing to name or to listen on", "leave it out"
            )
        return None
    if name is not None:
        try:
            check_name(name)
        except ControlError as error:
            raise ConfigError(f"name {name!r} is none", str(error).partition("(")[2][:-1]) from None
        if path is not None:
            raise ConfigError("--control and --name both say where", "leave one of them out")
    address = None
    if listen is not None:
        address = parse_address(listen, "control address", "--control-listen 0.0.0.0:7070")
        if not all(files[:2]):
            raise ConfigError(
                "--control-listen needs --control-token-file and --control-cert",
                "only who has the token is let in, and only over TLS",
            )
    elif any(files):
        raise ConfigError("a token or certificate, and nothing listens", "add --control-listen")
    return Control(path, name, address, *files)


def parse_hostname(text: str) -> str:
    """A name for the guest: at most 64 bytes (sethostname(2)), without spaces."""
    if not re.fullmatch(r"[!-~]{1,64}", text) or "/" in text:
        raise ConfigError(f"hostname {text!r} is none", "write --hostname web1")
    return text


_NET_CURE = "write --net user, none, tap:NAME or tap:NAME,ip=10.1.0.2/24,gw=10.1.0.1"


def _parse_ip(text: str, option: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        raise ConfigError(f"{option}: {text!r} is no IP address", "write 10.1.0.2 or ::1") from None


def parse_network(text: str) -> Network:
    """user, none, or tap:NAME with ip=ADDRESS/BITS, gw=ADDRESS and dns=ADDRESS after commas."""
    if text in ("user", "none"):
        return Network(text)
    kind, _, rest = text.partition(":")
    name, *settings = rest.split(",")
    if kind != "tap":
        raise ConfigError(f"network {text!r} is unknown", _NET_CURE)
    if not re.fullmatch(r"[^\s/:,]{1,15}", name) or name in (".", ".."):
        raise ConfigError(
            f"network {text!r}: {name!r} is no interface name", "1 to 15 bytes: --net tap:ht0"
        )
    said = dict(setting.partition("=")[::2] for setting in settings)
    if unknown := said.keys() - {"ip", "gw", "dns"}:
        raise ConfigError(f"network {text!r}: {sorted(unknown)[0]!r} is unknown", _NET_CURE)
    address, _, bits = said.get("ip", "").partition("/")
    own = _parse_ip(address, "--net ip") if "ip" in said else b""
    if own and not (bits.isdecimal() and 1 <= int(bits) <= 8 * len(own)):
        wrong = f"{bits!r} is no prefix length" if bits else "ip has no prefix length"
        raise ConfigError(f"network {text!r}: {wrong}", "write ip=10.1.0.2/24")
    gateway = _parse_ip(said["gw"], "--net gw") if "gw" in said else b""
    if gateway and len(gateway) != len(own):
        raise ConfigError(f"network {text!r}: gw needs an ip of its family", _NET_CURE)
    server = _parse_ip(said["dns"], "--net dns") if "dns" in said else b""
    return Network("tap", name, own, int(bits) if own else 0, gateway, server)


def _parse_port(text: str, option: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise ConfigError(f"publish {option!r}: {text!r} is no port", "1 to 65535: -p 8080:80")
    return int(text)


def parse_publish(text: str) -> Published:
    """[ADDR:]HOST:GUEST[/tcp|/udp], as docker run -p; an IPv6 ADDR in brackets."""
    ports, slash, kind = text.partition("/")
    match = re.fullmatch(r"(?:(\[[^]]*\]|[^:]*):)?([^:]+):([^:]+)", ports)
    if match is None or (slash and kind not in ("tcp", "udp")):
        raise ConfigError(
            f"publish {text!r} is not [ADDR:]HOST:GUEST[/tcp|/udp]",
            "write -p 8080:80 or -p 127.0.0.1:5353:53/udp",
        )
    address = (match[1] or "").strip("[]")
    if match[1] is not None:
        _parse_ip(address, f"publish {text!r}")
    return Published(
        address, _parse_port(match[2], text), _parse_port(match[3], text), kind == "udp"
    )


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
    if not config.argv:
        raise ConfigError("no program to run", "write hardtack run -- PROGRAM ARG…")
    if not config.argv[0]:
        raise ConfigError(
            "the program's name is empty", "name it, or its path: hardtack run -- /bin/true"
        )
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
    _check_network(config)
    _check_host_paths(config)
    return config


def _check_network(config: Config) -> None:
    kind, published = config.network.kind, config.published
    if published and kind != "user":
        raise ConfigError(
            f"publish {published[0]}: --net {kind} has no ports of the host",
            "leave --net out, or say --net user",
        )
    for at, one in enumerate(published):
        for other in published[:at]:
            if (one.address, one.host_port, one.udp) == (other.address, other.host_port, other.udp):
                raise ConfigError(
                    f"publish {one}: {other} has this port of the host already", "leave one out"
                )
    if config.pcap is not None:
        _check_writable_folder(config.pcap, "capture file", "--pcap")


def _check_writable_folder(path: str, what: str, option: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{what} {path!r}: its directory cannot be written", f"name another with {option}"
        )


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
        _check_writable_folder(config.trace_file, "trace file", "--trace-file")
