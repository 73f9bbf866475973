"""The `hardtack` command. Nothing is imported before the command that needs it.

The user never sees a traceback: whatever goes wrong becomes one line, "hardtack: error: what
(cause; cure)", and an exit status (see boot/options.py). HARDTACK_DEBUG=1 adds the traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from boot import VERSION
from boot.control.grammar import fault_words, split_exec
from boot.options import USAGE_STATUS, build_parser, split_command, to_config, with_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from boot.supervisor import Epitaph

EXIT_NOT_FOUND, EXIT_CANNOT_RUN, EXIT_SOFTWARE, EXIT_INTERRUPTED = 127, 126, 70, 130


def _say(kind: str, message: str) -> None:
    print(f"hardtack: {kind}: {message}", file=sys.stderr, flush=True)


def _debugging() -> bool:
    return os.environ.get("HARDTACK_DEBUG", "") not in ("", "0")


def _say_epitaph(epitaph: Epitaph) -> None:
    crash = epitaph.crash
    _say("warning", f"service {epitaph.service} failed in {crash.where}: {crash.error}")
    if _debugging():
        print(crash.traceback, file=sys.stderr, end="")


def _hold_closed_streams() -> None:
    """A stream that we were started without must not become the number of something else.

    O_PATH holds the number, and can neither be read nor written: it is how the console driver
    knows that the guest has no such stream either.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_PATH)
    # Python has None for them, and print(file=None) means standard output.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (until the end)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _run(words: Sequence[str], parser: argparse.ArgumentParser) -> int:
    ours, command = split_command(words)
    config = to_config(*with_file(parser, ours, command))

    import errno

    import trio

    from boot.kernel import run_kernel
    from boot.supervisor import ServiceFailed
    from bus.errors import PosixError

    try:
        return trio.run(lambda: run_kernel(config, on_epitaph=_say_epitaph))
    except PosixError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        reason = getattr(error, "reason", None)
        if reason is None:
            cure = "is it there, as the guest sees it?" if missing else "is it an x86-64 program?"
            reason = f"{os.strerror(error.errno)} ({cure})"
        where = "" if config.root == "/" else f" under {config.root}"
        _say("error", f"cannot run {config.argv[0]!r}{where}: {reason}")
        return EXIT_NOT_FOUND if missing else EXIT_CANNOT_RUN
    except ServiceFailed as error:
        _say("error", f"{error} (a bug in the kernel; HARDTACK_DEBUG=1 shows where)")
        return EXIT_SOFTWARE


def _graph(options: argparse.Namespace) -> int:
    from boot import graph
    from boot.topology import EMBEDDED

    topology = EMBEDDED.check()
    print(graph.as_dot(topology) if options.dot else graph.as_text(topology))
    return 0


def _bench(words: Sequence[str]) -> int:
    try:
        from bench.cli import app
    except ImportError as error:
        _say("error", f"the benchmarks are not installed: {error} (run from a source checkout)")
        return USAGE_STATUS
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it has children to end
    application: Callable[..., object] = app
    application(list(words), prog_name="hardtack bench")  # leaves by SystemExit
    return 0


def _campaign(words: Sequence[str], parser: argparse.ArgumentParser) -> int:
    ours = list(words)
    end = ours.index("--") if "--" in ours else len(ours)
    options = parser.parse_args(ours[:end])
    options.words = ours[end + 1 :]

    from boot.campaign.command import campaign

    return campaign(options)


def _dispatch(words: Sequence[str]) -> int:
    parser = build_parser()
    if not words:
        parser.print_help(sys.stderr)
        return USAGE_STATUS
    if words[0] == "run":
        return _run(words[1:], parser)
    if words[0] == "tour":
        from boot import tour

        return _run(tour.words(), parser)
    if words[0] == "bench":
        return _bench(words[1:])
    if words[0] == "campaign":
        return _campaign(words, parser)
    words, program = split_exec(words) if words[0] == "exec" else (words, ())
    words = fault_words(words) if words[0] == "fault" else words
    options = parser.parse_args(list(words))
    options.program = program
    if options.command == "graph":
        return _graph(options)
    if hasattr(options, "control_command"):
        from boot.control.command import command

        return command(options)
    if options.command == "image":
        from boot.image.command import image

        return image(options)
    if options.command == "serve":
        from boot.serve.command import serve

        return serve(options)
    print(f"hardtack {VERSION}")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    _hold_closed_streams()
    from boot.config import ConfigError
    from boot.control.wire import ControlError

    try:
        return _dispatch(sys.argv[1:] if words is None else words)
    except (ConfigError, ControlError) as error:
        _say("error", str(error))
        return USAGE_STATUS
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit as leaving:  # argparse, after it has said why
        return leaving.code if isinstance(leaving.code, int) else USAGE_STATUS
    except BaseException as error:
        if _debugging():
            raise
        _say("error", f"{_line(error)} (a bug in the kernel; HARDTACK_DEBUG=1 shows where)")
        return EXIT_SOFTWARE


def _line(error: BaseException) -> str:
    """An exception on one line; the first of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
