"""Signatures of the calls on open descriptors: input and output, pipes, waiting, fcntl, ioctl."""

from ..buffers import (
    FILLED,
    LONG_AT,
    ULONG_AT,
    buffer,
    filled_vectors,
    offset_change,
    vectors,
)
from ..clock import ITIMERSPEC, TIMESPEC, TIMEVAL
from ..control import FCNTL_ARGUMENT, fcntl_note, fcntl_result, fcntl_split
from ..events import (
    EPOLL_EVENT,
    EPOLL_EVENTS,
    FD_SET,
    POLLFDS,
    PSELECT_MASK,
    PSELECT_NOTE,
    SELECT_NOTE,
    poll_note,
)
from ..ioctl import IOCTL_ARGUMENT, IOCTL_COMMAND, ioctl_memory, ioctl_split
from ..model import At, Change, Out, ResultKind, Signature, call
from ..scalars import FD, INT, LONG, UINT, ULONG, flags, value
from ..signals import exact_sigset
from ..tables import events as e
from ..tables import files as t
from .pairs import PIPE, PIPE_FLAGS

_SPLICE = flags(t.SPLICE_FLAGS)
_RWF = At(5, flags(t.RWF_FLAGS))

DESCRIPTORS: dict[str, Signature] = {
    "read": call(fd=FD, buffer=FILLED, size=ULONG),
    "write": call(fd=FD, buffer=buffer(2), size=ULONG),
    "pread64": call(fd=FD, buffer=FILLED, size=ULONG, offset=LONG),
    "pwrite64": call(fd=FD, buffer=buffer(2), size=ULONG, offset=LONG),
    "readv": call(fd=FD, vectors=filled_vectors(2), count=ULONG),
    "writev": call(fd=FD, vectors=vectors(2), count=ULONG),
    "preadv": call(fd=FD, vectors=filled_vectors(2), count=ULONG, offset=LONG),
    "pwritev": call(fd=FD, vectors=vectors(2), count=ULONG, offset=LONG),
    "preadv2": call(fd=FD, vectors=filled_vectors(2), count=ULONG, offset=LONG, flags=_RWF),
    "pwritev2": call(fd=FD, vectors=vectors(2), count=ULONG, offset=LONG, flags=_RWF),
    "lseek": call(fd=FD, offset=LONG, whence=value(t.SEEK)),
    "close": call(fd=FD),
    "close_range": call(first=UINT, last=UINT, flags=flags(t.CLOSE_RANGE_FLAGS)),
    "dup": call(fd=FD),
    "dup2": call(old=FD, new=FD),
    "dup3": call(old=FD, new=FD, flags=flags(t.OPEN_FLAGS)),
    "pipe": call(fds=PIPE),
    "pipe2": call(fds=PIPE, flags=PIPE_FLAGS),
    "fcntl": call(
        ResultKind.DECIMAL, fcntl_note, fcntl_split, True, fcntl_result,
        fd=FD, command=value(t.FCNTL_COMMANDS), argument=FCNTL_ARGUMENT,
    ),
    "ioctl": call(
        ResultKind.DECIMAL, None, ioctl_split, True,
        fd=FD, command=IOCTL_COMMAND, argument=Out(IOCTL_ARGUMENT, ioctl_memory),
    ),
    "flock": call(fd=FD, operation=flags(t.FLOCK)),
    "fsync": call(fd=FD),
    "fdatasync": call(fd=FD),
    "ftruncate": call(fd=FD, length=ULONG),
    "fallocate": call(fd=FD, mode=flags(t.FALLOC_FLAGS), offset=LONG, length=LONG),
    "sync_file_range": call(fd=FD, offset=LONG, length=LONG, flags=flags(t.SYNC_RANGE_FLAGS)),
    "readahead": call(fd=FD, offset=LONG, count=ULONG),
    "sendfile": call(
        ResultKind.DECIMAL, None, lambda ctx: 3 if ctx.peek(ctx.args[2], 8) else 5,
        out=FD, source=FD, offset=ULONG_AT, offset_change=Change(offset_change), count=ULONG
    ),
    "splice": call(
        source=FD, source_offset=LONG_AT, out=FD, out_offset=LONG_AT, length=ULONG, flags=_SPLICE
    ),
    "tee": call(source=FD, out=FD, length=ULONG, flags=_SPLICE),
    "vmsplice": call(fd=FD, vectors=vectors(2), count=ULONG, flags=_SPLICE),
    "copy_file_range": call(
        source=FD, source_offset=LONG_AT, out=FD, out_offset=LONG_AT, length=ULONG, flags=UINT
    ),
    "poll": call(ResultKind.DECIMAL, poll_note(), fds=POLLFDS, count=UINT, timeout=INT),
    "ppoll": call(
        ResultKind.DECIMAL, poll_note(2),
        fds=POLLFDS, count=UINT, timeout=TIMESPEC, mask=exact_sigset(4), size=ULONG,
    ),
    "select": call(
        ResultKind.DECIMAL, SELECT_NOTE,
        count=INT, reading=FD_SET, writing=FD_SET, excepting=FD_SET, timeout=TIMEVAL,
    ),
    "pselect6": call(
        ResultKind.DECIMAL, PSELECT_NOTE,
        count=INT, reading=FD_SET, writing=FD_SET, excepting=FD_SET, timeout=TIMESPEC,
        mask=PSELECT_MASK,
    ),
    "epoll_create": call(size=INT),
    "epoll_create1": call(flags=flags(e.EPOLL_CREATE_FLAGS)),
    "epoll_ctl": call(epoll=FD, operation=value(e.EPOLL_CTL), fd=FD, event=EPOLL_EVENT),
    "epoll_wait": call(epoll=FD, events=EPOLL_EVENTS, count=INT, timeout=INT),
    "epoll_pwait": call(
        epoll=FD, events=EPOLL_EVENTS, count=INT, timeout=INT, mask=exact_sigset(5), size=ULONG
    ),
    "epoll_pwait2": call(
        epoll=FD, events=EPOLL_EVENTS, count=INT, timeout=TIMESPEC, mask=exact_sigset(5),
        size=ULONG,
    ),
    "eventfd": call(count=UINT),
    "eventfd2": call(count=UINT, flags=flags(e.EVENTFD_FLAGS)),
    "timerfd_create": call(clock=value(e.CLOCKS), flags=flags(e.TIMERFD_FLAGS)),
    "timerfd_settime": call(
        fd=FD, flags=flags(e.TIMERFD_FLAGS), new=ITIMERSPEC, old=Out(ITIMERSPEC)
    ),
    "timerfd_gettime": call(fd=FD, current=Out(ITIMERSPEC)),
}  # fmt: skip
