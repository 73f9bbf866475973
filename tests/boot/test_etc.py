"""Does the guest know its own name, and whom to ask for others?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from boot.config import Config, ConfigError, parse_hostname
from boot.etc import boot_files, hosts, resolv_conf
from services.drivers.nic.api import Card, Suggested

if TYPE_CHECKING:
    from pathlib import Path

USER = Card(
    "user",
    bytes(6),
    1500,
    offload=True,
    addresses=(Suggested(b"\xfe\xc0" + bytes(14), 64), Suggested(b"\x0a\0\2\x0f", 24)),
    name_servers=(b"\x0a\0\2\3", b"\xfe\xc0" + bytes(13) + b"\3"),
)
NONE = Card("none", bytes(6), 1500, offload=False)


def test_servers_are_replaced_and_the_rest_is_kept() -> None:
    before = "# made by\nsearch corp.example\nnameserver 1.2.3.4\noptions ndots:2\nnameserver ::1"
    assert resolv_conf(before, USER.name_servers) == (
        "search corp.example\noptions ndots:2\nnameserver 10.0.2.3\nnameserver fec0::3\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.2.15\tweb\n"),
        ("127.0.0.1 localhost", "127.0.0.1 localhost\n10.0.2.15\tweb\n"),
        ("127.0.0.1 a localhost web\n", "127.0.0.1 a localhost web\n"),
        ("127.0.0.1 localhost # web\n", "127.0.0.1 localhost # web\n10.0.2.15\tweb\n"),
    ],
)
def test_hosts_get_what_they_lack(before: str, after: str) -> None:
    assert hosts(before, "web", "10.0.2.15") == after


def made(config: Config, card: Card | None) -> dict[bytes, bytes]:
    return {file.path: file.content for file in boot_files(config, card)}


def test_files_of_a_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_bytes(b"127.0.0.1 localhost caf\xe9\n")
    (tmp_path / "etc/resolv.conf").symlink_to("/etc/resolv.conf")
    config = Config(("sh",), root=str(tmp_path), hostname="web1")
    assert made(config, USER) == {
        b"/etc/hostname": b"web1\n",
        b"/etc/hosts": b"127.0.0.1 localhost caf\xe9\n10.0.2.15\tweb1\n",
        b"/etc/resolv.conf": b"nameserver 10.0.2.3\nnameserver fec0::3\n",
    }
    for card in (NONE, None):
        files = made(config, card)
        assert b"/etc/resolv.conf" not in files
        assert files[b"/etc/hosts"].endswith(b"127.0.1.1\tweb1\n")


def test_a_root_that_is_written_through_is_left_alone(tmp_path: Path) -> None:
    assert made(Config(("sh",), root=str(tmp_path), root_writable=True), USER) == {}


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", "caf\xe9"])
def test_names_that_are_none(name: str) -> None:
    assert parse_hostname("web-1.example") == "web-1.example"
    with pytest.raises(ConfigError):
        parse_hostname(name)
