"""--inject and --fault: what is taken, and what is refused with what would be valid."""

from __future__ import annotations

import pytest

from boot.config import ConfigError, parse_fault, parse_inject


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("foo:error=EIO", "invalid system call 'foo' .*names, %file"),
        ("%foo:error=EIO", "invalid system call '%foo'"),
        ("/[:error=EIO", "invalid regular expression"),
        ("read", "nothing to inject .*error=E"),
        ("read:syscall=getpid", "nothing to inject"),
        ("read:error=EWHAT", "such as EIO"),
        ("read:eror=EIO", "no injection .*error=E"),
        ("read:error=EIO:syscall=write", "'write' has effects .*getpid"),
        ("read:poke_exit=@arg1=00,@arg1=01", "@arg1 once"),
        ("read:error=EIO:when=0", "FIRST"),
        ("net:crash", "'crash' is no injection"),
    ],
)
def test_an_injection_that_cannot_be_is_refused(text: str, cure: str) -> None:
    with pytest.raises(ConfigError, match=cure):
        parse_inject(text)


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("web:crash", "no service 'web' .*there are clock"),
        ("fs:explode", "it knows corrupt, crash"),
        ("fs:crash,often=1", "it has address"),
        ("foo:error=EIO", "invalid system call"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(text: str, cure: str) -> None:
    with pytest.raises(ConfigError, match=cure):
        parse_fault(text)


def test_a_fault_may_be_an_injection() -> None:
    assert parse_fault("inject=read:error=EIO") == "inject=read:error=EIO"
    assert parse_fault("read:error=EIO") == parse_inject("read:error=EIO")
    assert parse_fault("fs:crash,times=1") == "fs:crash,times=1"
