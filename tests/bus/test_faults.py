"""The grammar of faults and their registry: what is understood, what is refused, what strikes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from bus.faults import CallFault, Fault, FaultError, FaultRegistry, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.faults import Armed

SERVICES = ("clock", "nic", "vm", "fs", "net", "proc", "killer")


@pytest.mark.parametrize(
    ("text", "kind", "attributes"),
    [
        ("net:crash", "crash", {}),
        ("fs:hang,probability=10,interval=5,times=3", "hang",
         {"probability": 10.0, "interval": 5, "times": 3}),
        ("vm:delay,time=50ms,jitter=1us", "delay", {"time": 0.05, "jitter": 1e-6}),
        ("fs:error,errno=EIO,request=Read,path=/data/*", "error",
         {"errno": errno.EIO, "request": "Read", "path": "/data/*"}),
        ("nic:loss,probability=2.5%,direction=in", "loss",
         {"probability": 2.5, "direction": "in"}),
        ("heap:pressure,bytes=16M", "pressure", {"bytes": 16 << 20}),
        ("clock:jump,by=-2h", "jump", {"by": -7200.0}),
    ],
)  # fmt: skip
def test_a_fault_is_understood(text: str, kind: str, attributes: dict[str, object]) -> None:
    fault = parse(text, SERVICES)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.attributes) == (kind, attributes)
    assert parse(str(fault), SERVICES) == fault


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("web:crash", "there are clock, disk, entropy, fs"),
        ("fs:explode", "it knows corrupt, crash, delay"),
        ("fs", "fs names no fault"),
        ("fs:crash,often=1", "it has address, at, caller"),
        ("fs:crash,times", "times has no value"),
        ("fs:crash,times=0", "-1 for no limit"),
        ("fs:crash,probability=101", "percent"),
        ("fs:crash,probability=5,probability=6", "twice"),
        ("fs:delay,time=50", "50ms"),
        ("fs:error,errno=EWHAT", "EIO or ENOSPC"),
        ("heap:pressure", "bytes is missing"),
        ("", "no service and no set"),
        ("open", "nothing to inject"),
        ("open:eror=EIO", "there are error=E"),
        ("open:error=EIO:retval=1", "exclude each other"),
        ("open:error=0", "1 to 4095"),
        ("open:error=4096", "1 to 4095"),
        ("open:signal=65", "SIGKILL"),
        ("open:error=EIO:when=0", "from 1 to 65535"),
        ("open:error=EIO:when=3..2", "LAST not before FIRST"),
        ("open:error=EIO:when=1+0", "from 1 to 65535"),
        ("open:delay_enter=1h", "microseconds"),
        ("open:poke_exit=@arg1=C0F", "@arg1=C0FFEE"),
    ],
)
def test_what_cannot_be_is_refused_with_what_could(text: str, cure: str) -> None:
    with pytest.raises(FaultError) as refused:
        parse(text, SERVICES)
    assert cure in str(refused.value)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("when", "struck"),
    [
        ("3", [3]),
        ("3+", [3, 4, 5, 6, 7, 8]),
        ("3+2", [3, 5, 7]),
        ("2..4", [2, 3, 4]),
        ("2..4+", [2, 3, 4]),
        ("2..7+3", [2, 5]),
    ],
)
def test_when_counts_as_strace_does(when: str, struck: list[int]) -> None:
    fault = parse(f"read,write:error=EIO:when={when}", SERVICES)
    assert isinstance(fault, CallFault)
    assert (fault.calls, fault.error) == ("read,write", errno.EIO)
    assert [count for count in range(1, 9) if count in fault.when] == struck


def test_straces_other_words() -> None:
    fault = parse("%file:signal=USR1:delay_enter=10ms:delay_exit=500:when=9:when=2+", SERVICES)
    assert isinstance(fault, CallFault)
    assert (fault.signal, fault.delay_enter_s, fault.delay_exit_s) == (10, 0.01, 0.0005)
    assert (fault.when.first, 7 in fault.when) == (2, True)
    assert parse("fault=open", SERVICES) == CallFault("fault=open", "open", errno.ENOSYS)


class _Owner:
    kinds = ("crash", "hang", "delay", "corrupt")

    def __init__(self) -> None:
        self.armed: Sequence[Armed] = ()

    def refuse(self, fault: Fault | CallFault) -> str | None:
        said = isinstance(fault, Fault) and fault.kind == "corrupt"
        return "fs never lies (try fs:error)" if said else None

    def arm(self, faults: Sequence[Armed]) -> None:
        self.armed = faults


def test_an_owner_is_told_what_is_armed() -> None:
    registry, owner = FaultRegistry(SERVICES), _Owner()
    first = registry.add("fs:crash")
    registry.own("fs", owner)
    assert [one.number for one in owner.armed] == [first]
    second = registry.add("fs:hang")
    registry.add("net:crash")
    assert [one.number for one in owner.armed] == [first, second]
    with pytest.raises(FaultError, match="never lies"):
        registry.add("fs:corrupt")
    with pytest.raises(FaultError, match=r"fs cannot do that here .*crash, delay, hang"):
        registry.add("fs:drop")
    with pytest.raises(FaultError, match="9 is not armed"):
        registry.clear(9)
    assert registry.clear(first) == 1
    assert [one.number for one in owner.armed] == [second]
    assert registry.clear() == 2
    assert (owner.armed, registry.list()) == ([], ())


def _pattern(spec: str, seed: int = 0, count: int = 40) -> str:
    registry, owner = FaultRegistry(SERVICES, seed), _Owner()
    registry.own("fs", owner)
    registry.add(spec)
    return "".join("X" if owner.armed[0].strikes() else "." for _ in range(count))


def test_how_often_a_fault_strikes() -> None:
    assert _pattern("fs:delay", count=3) == "XXX"
    assert _pattern("fs:crash", count=3) == "X.."
    assert _pattern("fs:crash,times=-1", count=3) == "XXX"
    assert _pattern("fs:crash,times=2", count=5) == "XX..."
    assert _pattern("fs:delay,interval=3", count=9) == "..X..X..X"
    assert _pattern("fs:crash,space=4,times=1", count=7) == "....X.."
    some = _pattern("fs:delay,probability=30", count=1000)
    assert 230 < some.count("X") < 370


def test_the_seed_decides() -> None:
    assert _pattern("fs:delay,probability=50", 1) == _pattern("fs:delay,probability=50", 1)
    assert _pattern("fs:delay,probability=50", 1) != _pattern("fs:delay,probability=50", 2)


def test_injections_are_counted_after_the_fault_is_cleared() -> None:
    registry, owner = FaultRegistry(SERVICES), _Owner()
    registry.own("fs", owner)
    registry.add("fs:crash,times=2")
    for _ in range(5):
        owner.armed[0].strikes()
    listed = registry.list()[0]
    assert (listed.text, listed.eligible, listed.injected, listed.spent) == (
        "fs:crash,times=2", 5, 2, True,
    )  # fmt: skip
    registry.clear()
    assert registry.injected() == {("fs", "crash"): 2}
