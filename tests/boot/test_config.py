"""Is every wrong word refused with what is wrong and what to do, and every right one understood?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from boot.config import (
    GIB,
    MIB,
    Address,
    Bind,
    Config,
    ConfigError,
    guest_env,
    parse_address,
    parse_bind,
    parse_env,
    parse_network,
    parse_publish,
    parse_root,
    parse_size,
    parse_user,
    validate,
)
from services.drivers.nic.settings import Network, Published

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Config(argv=("/bin/true",))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 * MIB),
        ("1G", GIB),
        ("1.5g", GIB * 3 // 2),
        ("64KiB", 65536),
        ("64kb", 65536),
        ("4096", 4096),
        (" 2 M ", 2 * MIB),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1M", "1X", "1M1", "one", "0x10"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="512M"):
        parse_size(text)


def test_binds() -> None:
    assert parse_bind("/a:/b") == Bind("/a", "/b", False)
    assert parse_bind("/a:/b:rw") == Bind("/a", "/b", True)
    assert parse_bind("/a:/b/../c/:ro") == Bind("/a", "/c", False)
    assert parse_bind("x:/b").host == os.path.abspath("x")


@pytest.mark.parametrize("text", ["", "/a", "/a:", ":/b", "/a:/b:rx", "/a:b", "/a:/b:rw:rw"])
def test_what_is_no_bind_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="bind"):
        parse_bind(text)


def test_roots() -> None:
    assert parse_root("/") == ("/", False)
    assert parse_root("/x:rw") == ("/x", True)
    assert parse_root("/x:ro") == ("/x", False)
    with pytest.raises(ConfigError, match="names no directory"):
        parse_root(":rw")


def test_users() -> None:
    assert parse_user("5") == (5, 5)
    assert parse_user("5:6") == (5, 6)
    for text in ("", "root", "5:", "-1", "4294967295", "1:99999999999"):
        with pytest.raises(ConfigError, match="UID"):
            parse_user(text)


def test_addresses() -> None:
    assert parse_address("9100") == Address("127.0.0.1", 9100)
    assert parse_address("0.0.0.0:9100") == Address("0.0.0.0", 9100)
    assert parse_address("[::1]:9100") == Address("::1", 9100)
    for text in ("", "x", "1.2.3.4:", "70000"):
        with pytest.raises(ConfigError, match="PORT"):
            parse_address(text)


def test_the_environment_is_small_and_what_was_asked_for() -> None:
    host = {"LANG": "de", "SECRET": "s", "TERM": "vt100"}
    env = dict(guest_env(["A=1", "LANG", "MISSING", "B=x=y"], 0, host))
    assert env["A"] == "1"
    assert env["B"] == "x=y"
    assert env["LANG"] == "de"
    assert env["TERM"] == "vt100"
    assert env["HOME"] == "/root"
    assert not {"SECRET", "MISSING"} & set(env)
    with pytest.raises(ConfigError, match="K=V"):
        parse_env("=x", {})


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"argv": ()}, "no program"),
        ({"argv": ("",)}, "name is empty"),
        ({"ram_bytes": 4096}, "RAM of 4,096 bytes"),
        ({"ram_bytes": 64 * MIB + 1}, "multiple of the page size"),
        ({"ram_bytes": 1 << 50}, "RAM of"),
        ({"heap_bytes": 5}, "kernel heap of 5 bytes"),
        ({"cores": 2}, "one core"),
        ({"cores": 0}, "one core"),
        ({"workdir": "x"}, "relative"),
        ({"root": "/does/not/exist"}, "no directory"),
        ({"root": "/etc/hostname"}, "no directory"),
        ({"binds": (Bind("/does/not/exist", "/x"),)}, "does not exist"),
        ({"trace_file": "/does/not/exist/t"}, "directory cannot be written"),
    ],
)
def test_what_cannot_be_booted_is_refused_with_cause_and_cure(
    change: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{cause}.*\(.+\)"):
        validate(attrs.evolve(GOOD, **change))


def test_a_good_configuration_is_left_as_it_is(tmp_path: Path) -> None:
    bound = attrs.evolve(GOOD, root=str(tmp_path), binds=(Bind(str(tmp_path), "/x", True),))
    assert validate(bound) == bound


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_an_unreadable_root_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        validate(attrs.evolve(GOOD, root=str(tmp_path)))


def test_networks() -> None:
    assert parse_network("user") == Network("user")
    assert parse_network("none") == Network("none")
    assert parse_network("tap:ht0") == Network("tap", "ht0")
    assert parse_network("tap:ht0,ip=10.1.0.2/24,gw=10.1.0.1,dns=9.9.9.9") == Network(
        "tap", "ht0", bytes([10, 1, 0, 2]), 24, bytes([10, 1, 0, 1]), bytes([9, 9, 9, 9])
    )
    assert parse_network("tap:t,ip=fd00::2/64").prefix_bits == 64


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bridge",
        "user:x",
        "tap",
        "tap:",
        "tap:a name",
        "tap:sixteen-bytes-ab",
        "tap:t,ip=10.1.0.2",
        "tap:t,ip=10.1.0.2/33",
        "tap:t,ip=10.1.0/24",
        "tap:t,gw=10.1.0.1",
        "tap:t,ip=10.1.0.2/24,gw=fd00::1",
        "tap:t,mtu=9000",
    ],
)
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"net|ip="):
        parse_network(text)


def test_published_ports() -> None:
    assert parse_publish("8080:80") == Published("", 8080, 80)
    assert str(parse_publish("8080:80")) == "8080:80/tcp"
    assert parse_publish("127.0.0.1:53:5353/udp") == Published("127.0.0.1", 53, 5353, True)
    assert parse_publish("[::1]:80:80/tcp") == Published("::1", 80, 80)
    assert str(parse_publish("[::1]:81:80/tcp")) == "[::1]:81:80/tcp"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        ":80",
        "80:",
        "0:80",
        "80:65536",
        "a:b",
        "80:80/sctp",
        "80:80/",
        "1.2.3:80:80",
        "²:80",
    ],
)
def test_what_is_no_published_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="publish"):
        parse_publish(text)


def test_networks_are_checked_against_each_other(tmp_path: Path) -> None:
    web = parse_publish("8080:80")
    with pytest.raises(ConfigError, match="--net none has no ports"):
        validate(attrs.evolve(GOOD, network=Network("none"), published=(web,)))
    with pytest.raises(ConfigError, match="has this port of the host already"):
        validate(attrs.evolve(GOOD, published=(web, parse_publish("8080:81"))))
    validate(attrs.evolve(GOOD, published=(web, parse_publish("8080:80/udp"))))
    with pytest.raises(ConfigError, match="name another with --pcap"):
        validate(attrs.evolve(GOOD, pcap=str(tmp_path / "no" / "x.pcap")))
