"""System calls printed as strace 6.1 prints them: pure decoders over traced memory.

Knows nothing of the kernel. It is given a call's name, its six raw words, something that reads
the process's memory (`Memory`), and later the result; it gives text. What is printed, and how,
is data: one `Signature` a call in `SIGNATURES`, tables of constants in `tables/`.

    ctx = Ctx(memory=memory, args=args)
    entry = render_entry("openat", args, ctx)             # openat(AT_FDCWD, "/etc/passwd", O_RDONLY
    rest = render_exit("openat", args, ctx.at_exit(3))    # ) = 3
    line = render_line("openat", args, 3, ctx)            # both, aligned as strace aligns them

Rules of use:
- Where a process number stands before the line, it counts for the alignment: `before`, and
  `render_exit`'s `column`, include it.
- Render the entry when the call is made: parameters that the kernel reads are decoded then, and
  what an in-out parameter held is kept in the context. Render the exit with that context's
  `at_exit(result)`; `result` is RAX as a signed word, so -2 is ENOENT, and None is a call that
  did not come back.
- A call without a signature prints as six words in hexadecimal; `unknown_name` names a number.
- Nothing here raises on a program's bad pointers, lengths or constants.

The oracle is strace itself: the tests run the same calls over the same memory under the host's
strace and compare the lines as they are. Known to differ: interface numbers above the loopback's
are not turned into names; arguments of ioctls of loop devices, consoles and some drivers, of
Arm's prctls, of shmctl, semctl and msgctl, and a few rare socket options (ICMP filters, packet
rings, group requests) are plainer than strace's.
"""

from .calls import SIGNATURES
from .lines import (
    abandoned,
    exit_line,
    exited_line,
    file_prefix,
    killed_line,
    pid_prefix,
    resumed,
    signal_line,
    stopped_line,
    superseded_line,
    unfinished,
)
from .model import Args, Ctx, Decoder, Memory, NoMemory, ResultKind, Signature, six
from .render import errno_text, render_entry, render_exit, render_line, unknown_name
from .sets import parse_set
from .signals import siginfo
from .text import quote

__all__ = [
    "SIGNATURES",
    "Args",
    "Ctx",
    "Decoder",
    "Memory",
    "NoMemory",
    "ResultKind",
    "Signature",
    "abandoned",
    "errno_text",
    "exit_line",
    "exited_line",
    "file_prefix",
    "killed_line",
    "parse_set",
    "pid_prefix",
    "quote",
    "render_entry",
    "render_exit",
    "render_line",
    "resumed",
    "siginfo",
    "signal_line",
    "six",
    "stopped_line",
    "superseded_line",
    "unfinished",
    "unknown_name",
]
