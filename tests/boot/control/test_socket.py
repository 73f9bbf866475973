"""Does the control socket answer its owner, whatever is sent to it, and nobody else?"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boot.config import Address, Control
from boot.control import place, server
from boot.control.client import Target, connected
from boot.control.wire import (
    MAX_REQUEST_BYTES,
    ControlError,
    WireError,
    decode,
    encode,
    receive,
)
from tests.boot.control.kernels import client_of, with_stubs

if TYPE_CHECKING:
    from pathlib import Path


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(decode(data), dict)


def test_json_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(WireError):
        decode(b'{"a":' + b"[" * 100_000)


def _send_raw(path: Path, data: bytes) -> dict[str, Any] | None:
    """Send anything, end, and take the first answer."""
    with place.connect(path) as connection:
        connection.settimeout(10)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return receive(connection, MAX_REQUEST_BYTES)
        except ConnectionError:
            return None  # it hung up on us before we had said everything


HOSTILE = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda data: struct.pack(">I", len(data)) + data),
    st.dictionaries(
        st.sampled_from(["do", "pid", "signal", "spec", "set", "on", "argv", "number", "after"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False),
            st.text(max_size=20),
            st.lists(st.text(max_size=5), max_size=3),
            st.sampled_from(sorted(set(server.COMMANDS) - {"exec"})),
        ),
        max_size=6,
    ).map(encode),
)


def test_hostile_frames_disturb_nobody(tmp_path: Path) -> None:
    path = tmp_path / "c"
    sent = 0

    @settings(max_examples=150, deadline=None)
    @given(HOSTILE)
    def fuzz(data: bytes) -> None:
        nonlocal sent
        sent += 1
        answer = _send_raw(path, data)
        assert answer is None or answer.keys() & {"ok", "error", "part"}

    def work() -> Any:
        fuzz()
        with client_of(path).connection as connection:
            connection.sendall(encode({"do": "info"}))
            return receive(connection, MAX_REQUEST_BYTES)

    answer = with_stubs(Control(str(path)), work)
    assert answer["ok"]["pid"] == os.getpid()
    assert sent >= 100


def test_a_frame_that_claims_too_much_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "c"
    answer = with_stubs(Control(str(path)), lambda: _send_raw(path, b"\xff\xff\xff\xff"))
    assert "4,294,967,295 bytes" in answer["error"]


def test_an_unknown_command_is_told_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "c"
    answer = with_stubs(Control(str(path)), lambda: _send_raw(path, encode({"do": "dance"})))
    assert "no command 'dance'" in answer["error"]
    assert "ps" in answer["error"]


def test_the_socket_is_its_owners_alone_and_goes_with_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "c"
    mode = with_stubs(Control(str(path)), lambda: stat.S_IMODE(path.stat().st_mode))
    assert mode == 0o600
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become somebody else")
def test_another_user_gets_a_refusal_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c"

    def as_nobody() -> str:
        for folder in (tmp_path, *tmp_path.parents):
            if folder.name.startswith(("pytest-", "test_", "popen-")):
                folder.chmod(0o755)
        path.chmod(0o666)  # as if the mode did not protect it
        script = (
            "import socket;c=socket.socket(socket.AF_UNIX);"
            f"c.connect({str(path)!r});print(c.recv(9999))"
        )
        told = subprocess.run(
            ["/usr/bin/python3", "-c", script],
            capture_output=True,
            text=True,
            user=65534,
            group=65534,
            check=False,
        )
        return told.stdout

    said = with_stubs(Control(str(path)), as_nobody)
    assert "this kernel is another user" in said
    assert said.count("{") == 1


def test_two_kernels_cannot_have_one_name(tmp_path: Path) -> None:
    path = tmp_path / "c"

    def again() -> str:
        with pytest.raises(ControlError) as refused:
            place.listen(path)
        return str(refused.value)

    assert "has this name already" in with_stubs(Control(str(path)), again)


def test_what_a_killed_kernel_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c"
    place.listen(path).close()
    assert path.exists()

    def ask() -> Any:
        client = client_of(path)
        with client.connection:
            return client.ask("fault-list")

    assert with_stubs(Control(str(path)), ask) == {"armed": [], "injected": []}


def test_names_are_found_and_ambiguity_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ControlError, match="no kernel of yours runs"):
        place.find(None)
    first, second = place.listen(place.path_of("web")), place.listen(place.path_of("db"))
    with first, second:
        assert place.find("web").name == "web.sock"
        with pytest.raises(ControlError, match=r"2 kernels of yours run: db, web \(choose"):
            place.find(None)
        with pytest.raises(ControlError, match=r"'mail' \(running: db, web\)"):
            place.find("mail")
    assert place.running() == {}
    assert not list((tmp_path / "hardtack").iterdir())  # the stale ones are gone


def test_a_directory_that_others_may_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "hardtack").mkdir(mode=0o755)
    with pytest.raises(ControlError, match="not this user's alone"):
        place.directory()


# A wedged loop ----------------------------------------------------------------------------------


def test_a_stuck_kernel_is_looked_at_and_refuses_to_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "c"

    def look() -> tuple[Any, str, float]:
        time.sleep(0.3)
        client = client_of(path)
        client.connection.settimeout(60)
        with client.connection:
            began_s = time.monotonic()
            dump = client.ask("dump")
            took_s = time.monotonic() - began_s
            with pytest.raises(ControlError) as refused:
                client.ask("fault-add", spec="fs:crash")
            return dump, str(refused.value), took_s

    dump, refused, took_s = with_stubs(Control(str(path)), look, wedge_s=9.0)
    assert took_s < 2.0
    assert "the kernel's loop does not answer; where it is:" in dump
    assert any("kernels.py" in line and "program" in line for line in dump)
    assert "does not answer within 5 s; nothing was done" in refused


# Over the network -------------------------------------------------------------------------------


@pytest.fixture
def remote(tmp_path: Path) -> Control:
    """A certificate for localhost, and a token."""
    key, certificate, token = (tmp_path / name for name in ("key", "cert", "token"))
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "2",
        ],
        check=True,
        capture_output=True,
    )
    token.write_text("0123456789abcdef0123\n")
    return Control(
        str(tmp_path / "c"), None, Address("127.0.0.1", 0), str(token), str(certificate), str(key)
    )


def _with_remote(
    remote: Control, monkeypatch: pytest.MonkeyPatch, work: Any, **changes: str
) -> Any:
    """Do `work` with a target that reaches a kernel over TLS."""
    ports: list[int] = []
    create = socket.create_server

    def created(address: Any, **more: Any) -> socket.socket:
        made = create(address, **more)
        ports.append(made.getsockname()[1])
        return made

    monkeypatch.setattr(server.socket, "create_server", created)

    def run() -> Any:
        target = Target(
            address=f"127.0.0.1:{ports[0]}",
            token_file=changes.get("token_file", remote.token_file),
            certificate=changes.get("certificate", remote.certificate),
        )
        return work(target)

    return with_stubs(remote, run)


def test_who_has_the_token_is_served_over_tls(
    remote: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(target: Target) -> Any:
        with connected(target) as client:
            return client.ask("info")

    assert _with_remote(remote, monkeypatch, ask)["pid"] == os.getpid()


def test_a_wrong_token_is_told_so_and_gets_nothing(
    remote: Control, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("0123456789abcdef9999")

    def ask(target: Target) -> str:
        with connected(target) as client, pytest.raises(ControlError) as refused:
            client.ask("info")
        return str(refused.value)

    assert _with_remote(remote, monkeypatch, ask, token_file=str(wrong)) == "wrong token"


def test_who_does_not_speak_tls_gets_nothing_and_disturbs_nobody(
    remote: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(target: Target) -> Any:
        assert target.address is not None
        port = int(target.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(encode({"token": "x", "do": "ps"}))
            plain.settimeout(5)
            try:
                said = plain.recv(4096)
            except ConnectionError:
                said = b""
        with connected(target) as client:
            return said, client.ask("info")

    said, answer = _with_remote(remote, monkeypatch, ask)
    assert b"pid" not in said
    assert answer["pid"] == os.getpid()


def test_a_kernel_with_another_certificate_is_not_trusted(
    remote: Control, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=other",
            "-keyout",
            tmp_path / "k",
            "-out",
            other,
            "-days",
            "2",
        ],
        check=True,
        capture_output=True,
    )

    def ask(target: Target) -> str:
        with pytest.raises(ControlError) as refused, connected(target):
            pass
        return str(refused.value)

    told = _with_remote(remote, monkeypatch, ask, certificate=str(other))
    assert "certificate verify failed" in told or "self-signed" in told


def test_a_short_token_is_refused_at_boot(remote: Control, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short")
    with pytest.raises(ControlError, match="less than 16 characters"):
        with_stubs(remote, lambda: None)
