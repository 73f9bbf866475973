"""The grammar of the commands that speak to a running kernel; imported at every start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_EXEC_FLAGS = ("-t", "-T", "--terminal", "--no-terminal", "-h", "--help")


def _target(command: argparse.ArgumentParser) -> None:
    """Which kernel is meant."""
    which = command.add_argument_group("which kernel (needless where only one runs)")
    which.add_argument("-n", "--name", metavar="NAME", help="as given to hardtack run --name")
    which.add_argument("--control", metavar="PATH", help="its control socket")
    which.add_argument("--connect", metavar="HOST:PORT", help="another machine's, over TLS")
    which.add_argument("--token-file", metavar="FILE", help="the token that --connect needs")
    which.add_argument("--certificate", metavar="FILE", help="the certificate that it must show")
    command.set_defaults(control_command=True)


def _new(commands: Any, name: str, help_text: str, **more: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, allow_abbrev=False, **more
    )
    _target(command)
    return command


def add_commands(commands: Any) -> None:
    """Add them all."""
    ps = _new(commands, "ps", "list the processes of a running kernel")
    ps.add_argument("--json", action="store_true", help="for programs")
    top = _new(commands, "top", "watch processes, calls and heap of a running kernel")
    top.add_argument("--once", action="store_true", help="print it once and leave")
    _add_exec(commands)
    kill = _new(commands, "kill", "send a signal to a process in a running kernel")
    kill.add_argument("-s", "--signal", default="TERM", metavar="SIGNAL", help="(%(default)s)")
    kill.add_argument("pid", type=int, nargs="+", metavar="PID")
    trace = _new(commands, "trace", "switch the trace of system calls on or off")
    trace.add_argument("what", choices=("on", "off"))
    trace.add_argument("set", nargs="?", default="all", metavar="SET", help="as for --trace")
    trace.add_argument(
        "--file", default="", metavar="FILE", help="write it there, not to the kernel's stderr"
    )
    _add_fault(commands)
    heap = _new(commands, "heap", "watch the kernel heap of a running kernel")
    heap.add_argument(
        "address", nargs="?", metavar="[HOST:]PORT", help="of a --metrics page, to read it there"
    )
    heap.add_argument("--once", action="store_true", help="print it once and leave")
    heap.add_argument("--collect", action="store_true", help="collect everything, tell what lives")
    heap.add_argument(
        "--empty", action="store_true", help="the same, with the caches emptied first"
    )
    _new(commands, "stats", "what a running kernel has done so far, as --stats tells it")
    _new(commands, "dump", "where everything in a running kernel is, even if it is stuck")
    logs = _new(commands, "logs", "what a running kernel has said of itself")
    logs.add_argument("-f", "--follow", action="store_true", help="and what it says from now on")


def _add_exec(commands: Any) -> None:
    run = _new(
        commands,
        "exec",
        "run one more program in a running kernel",
        usage="hardtack exec [options] [--] PROGRAM [ARG ...]",
        description="Run PROGRAM in a running kernel, with the streams of this command, and leave"
        " with its status. It gets a terminal of its own where this one has one.",
    )
    run.add_argument(
        "-e", "--env", action="append", default=[], metavar="K=V", help="set K to V; repeatable"
    )
    run.add_argument("-w", "--workdir", metavar="DIR", help="current directory")
    run.add_argument("-u", "--user", metavar="UID[:GID]", help="who the program runs as")
    run.add_argument("-t", "--terminal", action="store_true", help="with a terminal, come what may")
    run.add_argument("-T", "--no-terminal", action="store_true", help="without a terminal")


def _add_fault(commands: Any) -> None:
    fault = commands.add_parser(
        "fault",
        help="inject faults into a running kernel, list and clear them",
        description="net crash   fs delay time=50ms probability=10   add read:error=EIO:when=3+2",
        allow_abbrev=False,
    )
    actions = fault.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = _new(actions, "add", "arm faults")
    add.add_argument("spec", nargs="+", metavar="FAULT", help="TARGET:KIND[,NAME=VALUE…]")
    _new(actions, "list", "what is armed, how often it could strike, and did")
    clear = _new(actions, "clear", "disarm")
    clear.add_argument("number", nargs="*", type=int, metavar="N", help="which ones (all)")


_FAULT_ACTIONS = ("add", "list", "clear")


def fault_words(words: Sequence[str]) -> list[str]:
    """`fault net crash [NAME=VALUE ...]`, and `fault net:crash`, mean `fault add ...`."""
    ours = list(words)
    if len(ours) < 2 or ours[1].startswith("-") or ours[1] in _FAULT_ACTIONS:
        return ours
    if ":" in ours[1]:
        return [ours[0], "add", *ours[1:]]
    end = next((at for at, word in enumerate(ours) if word.startswith("-")), len(ours))
    if end < 3:
        return ours  # argparse tells what there is
    return [ours[0], "add", f"{ours[1]}:{','.join(ours[2:end])}", *ours[end:]]


def split_exec(words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """(our options, the program with its arguments) of `exec ...`, as `split_command` does."""
    rest = iter(range(1, len(words)))
    ours = [words[0]]
    for at in rest:
        word = words[at]
        if word == "--":
            return ours, tuple(words[at + 1 :])
        if not word.startswith("-") or word == "-":
            return ours, tuple(words[at:])
        ours.append(word)
        if (
            word not in _EXEC_FLAGS
            and "=" not in word
            and (word.startswith("--") or len(word) == 2)
        ):
            value = next(rest, None)
            if value is not None:
                ours.append(words[value])
    return ours, ()
