"""Signatures of the calls on signals."""

from ..clock import KEPT_TIMEOUT
from ..model import Out, ResultKind, Signature, call
from ..scalars import FD, HEX32, INT, SIGNAL, ULONG, flags, value
from ..signals import (
    SIGACTION,
    SIGALTSTACK,
    SIGINFO,
    exact_sigset,
    short_sigset,
    signal_note,
    sigreturn_mask,
)
from ..tables.events import SIGNALFD_FLAGS
from ..tables.signals import SIGPROCMASK_HOW

SIGNALS: dict[str, Signature] = {
    "rt_sigaction": call(signal=SIGNAL, new=SIGACTION, old=Out(SIGACTION), size=ULONG),
    "rt_sigprocmask": call(
        how=value(SIGPROCMASK_HOW), new=exact_sigset(3), old=Out(exact_sigset(3)), size=ULONG
    ),
    "rt_sigreturn": call(mask=sigreturn_mask),
    "rt_sigpending": call(pending=Out(short_sigset(1)), size=ULONG),
    "rt_sigsuspend": call(mask=exact_sigset(1), size=ULONG),
    "rt_sigtimedwait": call(
        ResultKind.DECIMAL, signal_note, lambda ctx: 1 if ctx.args[1] else 4,
        wanted=exact_sigset(3), info=Out(SIGINFO), timeout=KEPT_TIMEOUT, size=ULONG,
    ),
    "rt_sigqueueinfo": call(pid=INT, signal=SIGNAL, info=SIGINFO),
    "rt_tgsigqueueinfo": call(pid=INT, tid=INT, signal=SIGNAL, info=SIGINFO),
    "sigaltstack": call(new=SIGALTSTACK, old=Out(SIGALTSTACK)),
    "kill": call(pid=INT, signal=SIGNAL),
    "tkill": call(tid=INT, signal=SIGNAL),
    "tgkill": call(pid=INT, tid=INT, signal=SIGNAL),
    "pause": call(),
    "signalfd": call(fd=FD, mask=exact_sigset(2), size=ULONG),
    "signalfd4": call(fd=FD, mask=exact_sigset(2), size=ULONG, flags=flags(SIGNALFD_FLAGS)),
    "pidfd_send_signal": call(pidfd=FD, signal=SIGNAL, info=SIGINFO, flags=HEX32),
}  # fmt: skip
