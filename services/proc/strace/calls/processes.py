"""Signatures of the calls on processes and threads: life, identity, scheduling, limits."""

from ..buffers import (
    ADDR_AT,
    ARGUMENTS,
    ENVIRONMENT,
    FILLED_HEX,
    INT_AT,
    PATH,
    STRING,
    UINT_AT,
    ULONG_AT,
)
from ..clock import TIMESPEC
from ..futex import FUTEX_OPERATION, futex_argument
from ..model import At, Out, ResultKind, Signature, call
from ..prctl import (
    ARCH_ARGUMENT,
    SECCOMP_ARGUMENT,
    SECCOMP_FLAGS,
    SECCOMP_OPERATION,
    SYSLOG_ACTION,
    SYSLOG_BUFFER,
    SYSLOG_LENGTH,
    arch_code,
    arch_split,
    prctl_argument,
    prctl_note,
    prctl_result,
    prctl_split,
    seccomp_split,
    syslog_split,
)
from ..process import (
    CAP_DATA,
    CAP_HEADER,
    CLONE3_ARGS,
    CLONE3_CHANGE,
    CLONE_CHILD_TID,
    CLONE_FLAGS,
    CLONE_PARENT_TID,
    CLONE_STACK,
    CLONE_TLS,
    CPU_SET,
    GOT_CPU_SET,
    GOT_GROUPS,
    GOT_SCHED_ATTR,
    GROUPS,
    HOSTNAME,
    ID_AT,
    PERSONALITY,
    RLIMIT,
    RUSAGE,
    SCHED_ATTR,
    SYSINFO,
    UTSNAME,
    WAIT_RUSAGE,
    clone3_split,
    clone_split,
    personality_note,
    sched_note,
)
from ..scalars import ADDR, DIRFD, FD, HEX, HEX32, INT, UID, UINT, ULONG, flags, value
from ..signals import SIGINFO, WAIT_STATUS
from ..tables import process as t
from ..tables.files import AT_FLAGS
from ..text import unsigned

_OPTIONS = flags(t.WAIT_OPTIONS)
_RESOURCE = value(t.RLIMITS)
_POLICY = value(t.SCHED_POLICIES)

PROCESSES: dict[str, Signature] = {
    "execve": call(path=PATH, arguments=ARGUMENTS, environment=ENVIRONMENT),
    "execveat": call(
        dirfd=DIRFD, path=PATH, arguments=ARGUMENTS, environment=ENVIRONMENT, flags=flags(AT_FLAGS)
    ),
    "fork": call(),
    "vfork": call(),
    "clone": call(
        ResultKind.DECIMAL, None, clone_split, True,
        stack=At(1, CLONE_STACK), flags=At(0, CLONE_FLAGS), parent_tid=At(2, CLONE_PARENT_TID),
        tls=At(4, CLONE_TLS), child_tid=At(3, CLONE_CHILD_TID),
    ),
    "clone3": call(
        ResultKind.DECIMAL, None, clone3_split, args=CLONE3_ARGS, change=CLONE3_CHANGE, size=ULONG
    ),
    "exit": call(ResultKind.NEVER, status=INT),
    "exit_group": call(ResultKind.NEVER, status=INT),
    "wait4": call(pid=INT, status=WAIT_STATUS, options=_OPTIONS, usage=WAIT_RUSAGE),
    "waitid": call(
        type=value(t.WAITID_TYPES), identity=INT, info=Out(SIGINFO), options=_OPTIONS,
        usage=Out(RUSAGE),
    ),
    "getpid": call(),
    "getppid": call(),
    "gettid": call(),
    "getpgrp": call(),
    "getpgid": call(pid=INT),
    "setpgid": call(pid=INT, group=INT),
    "getsid": call(pid=INT),
    "setsid": call(),
    "getuid": call(),
    "geteuid": call(),
    "getgid": call(),
    "getegid": call(),
    "setuid": call(uid=UID),
    "setgid": call(gid=UID),
    "setreuid": call(real=UID, effective=UID),
    "setregid": call(real=UID, effective=UID),
    "setresuid": call(real=UID, effective=UID, saved=UID),
    "setresgid": call(real=UID, effective=UID, saved=UID),
    "getresuid": call(real=Out(ID_AT), effective=Out(ID_AT), saved=Out(ID_AT)),
    "getresgid": call(real=Out(ID_AT), effective=Out(ID_AT), saved=Out(ID_AT)),
    "setfsuid": call(uid=UID),
    "setfsgid": call(gid=UID),
    "getgroups": call(count=INT, groups=GOT_GROUPS),
    "setgroups": call(count=INT, groups=GROUPS),
    "capget": call(header=CAP_HEADER, sets=Out(CAP_DATA)),
    "capset": call(header=CAP_HEADER, sets=CAP_DATA),
    "prctl": call(
        ResultKind.DECIMAL, prctl_note, prctl_split, True, prctl_result,
        option=value(t.PRCTL_OPTIONS), arg1=prctl_argument(0), arg2=prctl_argument(1),
        arg3=prctl_argument(2), arg4=prctl_argument(3),
    ),
    "arch_prctl": call(
        ResultKind.DECIMAL, None, arch_split, True, code=arch_code, address=ARCH_ARGUMENT
    ),
    "seccomp": call(
        ResultKind.DECIMAL, None, seccomp_split, True,
        operation=SECCOMP_OPERATION, flags=SECCOMP_FLAGS, argument=SECCOMP_ARGUMENT,
    ),
    "personality": call(ResultKind.HEX, personality_note, persona=PERSONALITY),
    "uname": call(name=UTSNAME),
    "sethostname": call(name=HOSTNAME, length=UINT),
    "setdomainname": call(name=HOSTNAME, length=UINT),
    "sysinfo": call(info=Out(SYSINFO)),
    "syslog": call(
        ResultKind.DECIMAL, None, syslog_split, True,
        action=SYSLOG_ACTION, buffer=SYSLOG_BUFFER, length=SYSLOG_LENGTH,
    ),
    "reboot": call(
        magic=value(t.REBOOT_MAGIC1), magic2=value(t.REBOOT_MAGIC2),
        command=value(t.REBOOT_COMMANDS),
        argument=lambda word, ctx: STRING(word, ctx) if unsigned(ctx.args[2]) == 0xA1B2C3D4 else "",
    ),
    "getrlimit": call(resource=_RESOURCE, limit=Out(RLIMIT)),
    "setrlimit": call(resource=_RESOURCE, limit=RLIMIT),
    "prlimit64": call(pid=INT, resource=_RESOURCE, new=RLIMIT, old=Out(RLIMIT)),
    "getrusage": call(who=value(t.RUSAGE_WHO), usage=Out(RUSAGE)),
    "getpriority": call(which=value(t.PRIORITY_WHICH), who=INT),
    "setpriority": call(which=value(t.PRIORITY_WHICH), who=INT, nice=INT),
    "sched_yield": call(),
    "sched_setparam": call(pid=INT, param=INT_AT),
    "sched_getparam": call(pid=INT, param=Out(INT_AT)),
    "sched_setscheduler": call(pid=INT, policy=_POLICY, param=INT_AT),
    "sched_getscheduler": call(ResultKind.DECIMAL, sched_note, pid=INT),
    "sched_get_priority_max": call(policy=_POLICY),
    "sched_get_priority_min": call(policy=_POLICY),
    "sched_rr_get_interval": call(pid=INT, interval=Out(TIMESPEC)),
    "sched_setaffinity": call(pid=INT, size=UINT, cpus=CPU_SET),
    "sched_getaffinity": call(pid=INT, size=UINT, cpus=GOT_CPU_SET),
    "sched_setattr": call(pid=INT, attributes=SCHED_ATTR, flags=UINT),
    "sched_getattr": call(pid=INT, attributes=GOT_SCHED_ATTR, size=UINT, flags=UINT),
    "getcpu": call(cpu=Out(UINT_AT), node=Out(UINT_AT), cache=ADDR),
    "futex": call(
        address=ADDR, operation=FUTEX_OPERATION, value=futex_argument(0),
        timeout=futex_argument(1), address2=futex_argument(2), value3=futex_argument(3),
    ),
    "set_tid_address": call(address=HEX),
    "set_robust_list": call(head=ADDR, length=ULONG),
    "get_robust_list": call(pid=INT, head=Out(ADDR_AT), length=Out(ULONG_AT)),
    "unshare": call(flags=flags(t.UNSHARE_FLAGS, 64)),
    "setns": call(fd=FD, type=flags(t.SETNS_FLAGS)),
    "pidfd_open": call(pid=INT, flags=flags(t.PIDFD_FLAGS)),
    "pidfd_getfd": call(pidfd=FD, fd=FD, flags=HEX32),
    "getrandom": call(buffer=FILLED_HEX, size=ULONG, flags=flags(t.GETRANDOM_FLAGS)),
    "vhangup": call(),
}  # fmt: skip
