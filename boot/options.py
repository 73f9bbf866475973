"""The command line's grammar: options, their help, and the words that become a `Config`.

Built on argparse: typer takes 40 ms and click 30 ms longer to import, at every start of every
program. Everything before the program's name is ours, everything from it on is the program's;
`split_command` finds the border, with or without `--`.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, NoReturn

from boot.control.grammar import add_commands
from boot.image.command import add_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from boot.config import Config

USAGE_STATUS = 2

EXAMPLES = """\
examples:
  hardtack run -- /bin/busybox sh              a shell in a kernel written in Python
  hardtack run --root ./debian -- /bin/ls -l   the guest sees ./debian as its /
  hardtack run --bind ./data:/data:rw -w /data -- sqlite3 test.db 'select 1'
  hardtack run -p 6379:6379 -w /tmp -- redis-server --save '' --protected-mode no
  hardtack run --trace=openat,read -- cat /etc/hostname
  hardtack run --stats --ram 256M -- python3 -c 'print(6 * 7)'
  hardtack serve                               NGINX and Redis inside, to be used from here
  hardtack ps; hardtack exec -- sh             what runs in it; one more program in it
  hardtack graph                               who calls whom inside the kernel

The exit status is the program's own; 128 + n when signal n ended it; 127 when it was not
found, 126 when it cannot be run, 2 for a mistake on this command line, 70 when the kernel failed.
HARDTACK_DEBUG=1 shows tracebacks.
"""

RUN_EXAMPLES = """\
examples:
  hardtack run -- /bin/echo hello
  hardtack run -e LANG=C.UTF-8 -e TERM -u 1000:1000 -- /usr/bin/python3
  hardtack run --root ./alpine --bind /srv/www:/www -- nginx -g 'daemon off;'
  hardtack run --trace -- ls                   every system call, as strace shows it, to stderr
  hardtack run --trace=%file --trace-file t.txt -- ls
  hardtack run -p 8080:80 --pcap web.pcap -- nginx -g 'daemon off;'
  hardtack run --metrics 9100 -- redis-server  and then: curl localhost:9100/metrics
  hardtack run --inject fsync:error=EIO:when=2 -- sqlite3 test.db 'create table t(a)'
  hardtack run --seed 7 -- ./flaky-test        the same randomness every time
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong and where the help is, on one line."""

    def format_help(self) -> str:
        return super().format_help().replace("--trace [SET]", "--trace[=SET]")

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_STATUS, f"hardtack: error: {message} (see {self.prog} --help)\n")


def _add_run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--config",
        metavar="FILE",
        help='read options from a TOML file: ram = "2G", fault = ["net:crash"], command = [...]',
    )
    guest = run.add_argument_group("what the program sees")
    guest.add_argument(
        "--root",
        default="/",
        metavar="DIR[:rw]",
        help="host directory that is the guest's / (%(default)s), read-only unless rw",
    )
    guest.add_argument(
        "--image",
        metavar="FILE[:GUEST][:ro|:sync]",
        help="ext4 image that is the guest's / in place of --root, or at GUEST; mem:SIZE[:GUEST]:"
        " an empty one in memory, at /mnt",
    )
    guest.add_argument(
        "--bind",
        action="append",
        default=[],
        metavar="HOST:GUEST[:rw]",
        help="show a host file or directory at GUEST, read-only unless rw; repeatable",
    )
    guest.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="K[=V]",
        help="set K to V, or to its value here; the rest of your environment stays out; repeatable",
    )
    guest.add_argument("-w", "--workdir", default="/", metavar="DIR", help="current directory (/)")
    guest.add_argument(
        "-u", "--user", default="0", metavar="UID[:GID]", help="who the program runs as (root)"
    )
    guest.add_argument(
        "--hostname", default="hardtack", metavar="NAME", help="its name (%(default)s)"
    )
    machine = run.add_argument_group("the machine")
    machine.add_argument(
        "--ram", default="1G", metavar="SIZE", help="physical memory (%(default)s)"
    )
    machine.add_argument(
        "--heap", default="256M", metavar="SIZE", help="the kernel's own heap (%(default)s)"
    )
    machine.add_argument(
        "--heap-faults",
        metavar="WHEN",
        help="reservations of heap fail although there is room: once (each way to one), or with"
        " a probability (0.1); programs must not notice",
    )
    machine.add_argument(
        "--protect",
        action="append",
        default=[],
        metavar="NAME",
        help="never kill programs of that name when the kernel's heap is short; repeatable",
    )
    machine.add_argument("--cores", type=int, default=1, metavar="N", help="processors (1)")
    machine.add_argument(
        "--seed", type=int, metavar="N", help="make randomness repeatable: the same for the same N"
    )
    scripts = run.add_argument_group("scripts that programs put into the kernel")
    scripts.add_argument(
        "--script-jit", default="on", metavar="on|off", help="compile them, or interpret (on)"
    )
    scripts.add_argument(
        "--script-memory", default="1M", metavar="SIZE", help="of each; more kills (%(default)s)"
    )
    scripts.add_argument(
        "--script-time",
        default="1000",
        metavar="MS",
        help="of one call, waits not counted; more kills (%(default)s)",
    )
    network = run.add_argument_group("the network")
    network.add_argument(
        "--net",
        default="user",
        metavar="KIND",
        help="user: through this host's sockets, no privileges (%(default)s);"
        " tap:NAME[,ip=A/BITS][,gw=A][,dns=A]: an interface of this host; none",
    )
    network.add_argument(
        "-p",
        "--publish",
        action="append",
        default=[],
        metavar="[ADDR:]HOST:GUEST[/udp]",
        help="port HOST here (on all addresses, or ADDR) leads to port GUEST inside; repeatable",
    )
    network.add_argument(
        "--pcap", metavar="FILE", help="write every frame there, for Wireshark or tcpdump -r"
    )
    faults = run.add_argument_group("what goes wrong")
    faults.add_argument(
        "--inject",
        action="append",
        default=[],
        metavar="SET:WHAT[:when=WHEN]",
        help="tamper with system calls as strace's --inject does; WHAT is error=E, retval=V,"
        " signal=S, delay_enter=T, delay_exit=T, poke_enter=@argN=HEX; repeatable",
    )
    faults.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="TARGET:KIND[,NAME=VALUE…]",
        help="break a service or device: net:crash, fs:delay,time=50ms,probability=10; repeatable",
    )
    watch = run.add_argument_group("watching it")
    watch.add_argument(
        "--trace",
        nargs="?",
        const="all",
        metavar="SET",
        help="show system calls as strace does: --trace for all, --trace=SET for some",
    )
    watch.add_argument("--trace-file", metavar="FILE", help="write the trace there, not to stderr")
    watch.add_argument("--stats", action="store_true", help="a summary on stderr at the end")
    watch.add_argument(
        "--metrics", metavar="[HOST:]PORT", help="serve Prometheus metrics at /metrics meanwhile"
    )
    machine.add_argument(
        "--restarts",
        metavar="N/SECONDS",
        help="how often a service may fail before the kernel gives up (12/10)",
    )
    control = run.add_argument_group("commands to it while it runs")
    control.add_argument("--name", metavar="NAME", help="what hardtack ps -n NAME finds it by")
    control.add_argument(
        "--control",
        metavar="PATH",
        help="its control socket (one in your runtime directory); none: no commands",
    )
    control.add_argument(
        "--control-listen", metavar="HOST:PORT", help="take commands there too, over TLS"
    )
    for option, metavar, what in (
        ("token-file", "FILE", "holds the token that who comes there must have"),
        ("cert", "FILE", "certificate that is shown there (PEM)"),
        ("key", "FILE", "its key, where it is not in the same file"),
    ):
        control.add_argument(f"--control-{option}", default="", metavar=metavar, help=what)


def _add_serve_options(serve: argparse.ArgumentParser) -> None:
    for name, port in (("http", 8080), ("redis", 6379)):
        serve.add_argument(
            f"--{name}", type=_port, default=port, metavar="PORT", help=f"or the next free ({port})"
        )
    serve.add_argument(
        "--once", action="store_true", help="end once they have answered; status 1 if not"
    )
    serve.add_argument(
        "--install", action="store_true", help="install what is missing (needs root and apt)"
    )


def _add_campaign_options(campaign: argparse.ArgumentParser) -> None:
    campaign.add_argument(
        *("-n", "--number"), type=int, default=200, metavar="N", help="of each (%(default)s)"
    )
    campaign.add_argument(
        "--services",
        default="vm,fs,net,drivers,killer,proc,script",
        metavar="LIST",
        help="which (%(default)s)",
    )
    campaign.add_argument(
        "--faults", default="crash,hang,delay", metavar="LIST", help="which (%(default)s)"
    )
    campaign.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of order and moments (%(default)s)"
    )
    campaign.add_argument(
        *("-o", "--output"),
        default="bench/results",
        metavar="DIR",
        help="for campaign.md, .json and .png (%(default)s)",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port, 1 to 65535")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar; `run` takes its program from `split_command`."""
    parser = _Parser(
        prog="hardtack",
        description="A POSIX kernel in Python that runs unmodified Linux x86-64 programs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    run = commands.add_parser(
        "run",
        help="boot the kernel and run a program in it",
        usage="hardtack run [options] [--] PROGRAM [ARG ...]",
        description="Boot a kernel, run PROGRAM as its first process, and leave with its status.",
        epilog=RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_run_options(run)
    graph = commands.add_parser("graph", help="print the services and who calls whom")
    graph.add_argument("--dot", action="store_true", help="in Graphviz' language")
    commands.add_parser("bench", add_help=False, help="reproduce the published measurements")
    _add_serve_options(
        commands.add_parser(
            "serve",
            help="NGINX and Redis inside, at addresses of this machine",
            description="Boot a kernel with NGINX and Redis in it, publish and try them, and show"
            " what it does until Ctrl-C. Without a terminal it ends once both have answered.",
            allow_abbrev=False,
        )
    )
    add_commands(commands)
    image = commands.add_parser(
        "image",
        help="make, list, check and export disk images",
        description="ext4 images, as Linux and e2fsprogs understand them.",
        allow_abbrev=False,
    )
    add_options(image)
    _add_campaign_options(
        commands.add_parser(
            "campaign",
            help="crash, hang and slow every service under load, and count who notices",
            usage="hardtack campaign [options] [-- OPTIONS OF hardtack run]",
            description="Boot a kernel with NGINX, Redis, a shell script, SQLite and a Lua script,"
            " strike its services one after the other, and report who noticed. Status 0: nobody.",
            allow_abbrev=False,
        )
    )
    commands.add_parser("tour", add_help=False, help="a short tour of real programs")
    commands.add_parser("version", help="print the version")
    return parser


_FLAGS = frozenset({"-h", "--help", "--stats"})


def split_command(words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """(our options, the program with its arguments) of what follows `hardtack run`.

    The program starts after `--`, or at the first word that is neither an option nor an option's
    value. A bare `--trace` means all: its value is only ever joined to it by `=`.
    """
    options: list[str] = []
    rest = iter(range(len(words)))
    for at in rest:
        word = words[at]
        if word == "--":
            return options, tuple(words[at + 1 :])
        if not word.startswith("-") or word == "-":
            return options, tuple(words[at:])
        options.append("--trace=all" if word == "--trace" else word)
        takes_next = word not in _FLAGS and word != "--trace" and "=" not in word
        if takes_next and (word.startswith("--") or len(word) == 2):
            value = next(rest, None)
            if value is not None:
                options.append(words[value])
    return options, ()


def with_file(
    parser: argparse.ArgumentParser, ours: Sequence[str], command: tuple[str, ...]
) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """What `hardtack run` is told, by its configuration file and by its own words after that."""
    said = parser.parse_args(["run", *ours])
    if said.config is None:
        return said, command
    from boot import configfile

    plain = vars(parser.parse_args(["run"])).keys() - {"command", "config"}
    flags = {word.removeprefix("--") for word in _FLAGS - {"-h", "--help"}}
    names = {name.replace("_", "-") for name in plain}
    words, program = configfile.read(said.config, names, flags)
    return parser.parse_args(["run", *words, *ours]), command or program


def to_config(options: argparse.Namespace, command: tuple[str, ...]) -> Config:
    """A validated configuration from what was parsed; ConfigError where it cannot be booted."""
    from boot import config as c

    uid, gid = c.parse_user(options.user)
    root, root_writable = c.parse_root(options.root)
    return c.validate(
        c.Config(
            argv=command,
            root=root,
            root_writable=root_writable,
            image=c.parse_image(options.image),
            binds=tuple(c.parse_bind(text) for text in options.bind),
            env=c.guest_env(options.env, uid, os.environ),
            workdir=options.workdir,
            uid=uid,
            gid=gid,
            ram_bytes=c.parse_size(options.ram),
            heap_bytes=c.parse_size(options.heap),
            heap_faults=c.parse_heap_faults(options.heap_faults),
            faults=(
                *(c.parse_inject(text) for text in options.inject),
                *(c.parse_fault(text) for text in options.fault),
            ),
            protected=tuple(options.protect),
            cores=options.cores,
            trace=options.trace,
            trace_file=options.trace_file,
            stats=options.stats,
            seed=options.seed,
            hostname=c.parse_hostname(options.hostname),
            metrics=None if options.metrics is None else c.parse_address(options.metrics),
            restarts=c.parse_restarts(options.restarts),
            control=c.parse_control(
                options.control,
                options.name,
                options.control_listen,
                (options.control_token_file, options.control_cert, options.control_key),
            ),
            network=c.parse_network(options.net),
            published=tuple(c.parse_publish(text) for text in options.publish),
            pcap=options.pcap,
            script_limits=c.parse_script_limits(
                options.script_jit, options.script_memory, options.script_time
            ),
        )
    )
