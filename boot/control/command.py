"""The commands themselves: ask, and show the answer. Each replies with the exit status."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from boot.control.client import Target, connected

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from boot.control.client import Client

PERIOD_S = 1.0


def table(rows: Sequence[Sequence[object]], right: str) -> list[str]:
    """Lines with aligned columns; `right`: a letter for each column, r where it is a number."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = []
    for row in texts:
        cells = [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def process_lines(found: Any) -> list[str]:
    """ps(1), in our words."""
    head = ("PID", "PPID", "UID", "S", "THR", "FDS", "TIME", "CALL", "NAME")
    rows: list[tuple[object, ...]] = [head]
    for one in found:
        used_s = (one["user_ns"] + one["system_ns"]) / 1e9
        rows.append(
            (
                one["pid"],
                one["parent"],
                one["uid"],
                one["state"],
                one["threads"],
                one["descriptors"],
                f"{used_s:.2f}",
                one["call"] or "-",
                one["name"],
            )
        )
    return table(rows, "rrrlrrrll")


def _print(lines: Any) -> int:
    print("\n".join(lines), flush=True)
    return 0


def _ps(client: Client, options: argparse.Namespace) -> int:
    found = client.ask("ps")
    return _print([json.dumps(found)] if options.json else process_lines(found))


def _kill(client: Client, options: argparse.Namespace) -> int:
    for pid in options.pid:
        client.ask("kill", pid=pid, signal=options.signal)
    return 0


def _trace(client: Client, options: argparse.Namespace) -> int:
    import os

    file = os.path.abspath(options.file) if options.file else ""
    client.ask("trace", on=options.what == "on", set=options.set, file=file)
    return 0


def _fault(client: Client, options: argparse.Namespace) -> int:
    if options.action == "add":
        return _print([f"fault {client.ask('fault-add', spec=spec)}" for spec in options.spec])
    if options.action == "clear":
        numbers = options.number or [0]
        gone = sum(int(str(client.ask("fault-clear", number=number))) for number in numbers)
        return _print([f"{gone} cleared"])
    found: Any = client.ask("fault-list")
    rows: list[Sequence[object]] = [("N", "COULD", "STRUCK", "FAULT")]
    rows += [
        (number, eligible, injected, text + (" (spent)" if spent else ""))
        for number, text, eligible, injected, spent in found["armed"]
    ]
    lines = table(rows, "rrrl")
    lines += [f"since boot: {target}:{kind} {count}" for target, kind, count in found["injected"]]
    return _print(lines)


def _heap(client: Client, options: argparse.Namespace) -> int:
    if options.collect or options.empty:
        live = int(str(client.ask("heap-collect", empty=options.empty)))
        return _print([f"{live:,} bytes live"])
    while True:
        lines: Any = client.ask("heap")
        if options.once:
            return _print(lines)
        _print(["\033[H\033[2J" + "\n".join(lines)])
        time.sleep(PERIOD_S)


def _text(command: str) -> Callable[[Client, argparse.Namespace], int]:
    def show(client: Client, options: argparse.Namespace) -> int:
        answer: Any = client.ask(command)
        return _print([answer] if isinstance(answer, str) else answer)

    return show


def _logs(client: Client, options: argparse.Namespace) -> int:
    for part in client.stream("logs", follow=options.follow):
        entries: Any = part
        for _, time_s, text in entries:
            stamp = time.strftime("%H:%M:%S", time.localtime(time_s))
            print(f"{stamp} {text}", flush=True)
    return 0


def _top(client: Client, options: argparse.Namespace) -> int:
    from boot.control.top import top

    return top(client, options.once)


def _exec(client: Client, options: argparse.Namespace) -> int:
    from boot.control.attach import run

    return run(client, options)


COMMANDS: dict[str, Callable[[Client, argparse.Namespace], int]] = {
    "ps": _ps,
    "top": _top,
    "exec": _exec,
    "kill": _kill,
    "trace": _trace,
    "fault": _fault,
    "heap": _heap,
    "stats": _text("stats"),
    "dump": _text("dump"),
    "logs": _logs,
}


def command(options: argparse.Namespace) -> int:
    """Do one; ControlError: why it cannot be done."""
    if options.command == "heap" and options.address is not None:
        from boot.heap import watch

        return watch(options.address, options.once)
    with connected(Target.of(options)) as client:
        return COMMANDS[options.command](client, options)
