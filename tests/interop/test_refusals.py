"""What the host does not give: one line that says what and what to do about it, and status 2."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.interop.lab import REPOSITORY

if TYPE_CHECKING:
    from tests.interop.lab import Lab

KERNEL = (sys.executable, "-m", "boot", "run")
# Nobody, but for reading: this interpreter may lie where nobody may look.
NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


def refusal(*argv: str) -> str:
    """The one line with which a kernel that cannot have its network leaves."""
    ran = subprocess.run(
        [*argv, "--", "/bin/true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
    )
    assert ran.returncode == 2, ran
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("hardtack: error: ")
    return line


def test_a_port_that_is_taken(lab: Lab) -> None:
    for kind, name in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            port = taken.getsockname()[1]
            said = refusal(*KERNEL, "-p", f"127.0.0.1:{port}:80/{name}")
        assert f"127.0.0.1:{port}/{name}: Address already in use" in said
        assert "publish another" in said


def test_a_port_that_is_published_twice(lab: Lab) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said = refusal(*KERNEL, "-p", f"127.0.0.1:{port}:80", "-p", f"127.0.0.1:{port}:81")
    assert str(port) in said


def test_an_address_that_is_not_here(lab: Lab) -> None:
    assert "this host has no such address" in refusal(*KERNEL, "-p", "198.51.100.1:8080:80")


def test_a_port_of_root(lab: Lab) -> None:
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if start <= 1:
        return
    said = refusal(*NOBODY, *KERNEL, "-p", f"127.0.0.1:{start - 1}:80")
    assert "Permission denied" in said


def _with_device(minor: int | None, mode: int = 0o666) -> tuple[str, ...]:
    """A command prefix: a mount namespace whose /dev/net has this device, or none."""
    made = f"mknod -m {mode:o} /dev/net/tun c 10 {minor} && " if minor is not None else ""
    script = f'mount -t tmpfs none /dev/net && {made}exec "$@"'
    return "unshare", "--mount", "--", "sh", "-c", script, "sh"


def test_no_permission_for_the_device(lab: Lab) -> None:
    said = refusal(*_with_device(200, 0o600), *NOBODY, *KERNEL, "--net", "tap:htno")
    assert "/dev/net/tun: Permission denied" in said
    assert "run as root" in said


def test_no_permission_for_an_interface(lab: Lab) -> None:
    said = refusal(*_with_device(200), *NOBODY, *KERNEL, "--net", "tap:htno")
    assert "tap htno: Operation not permitted" in said
    assert "ip tuntap add htno mode tap user $USER vnet_hdr" in said


def test_the_cure_that_is_told_cures(lab: Lab) -> None:
    """What the message says to root lets nobody have the interface."""
    where = lab.namespace()
    where.run("ip", "tuntap", "add", "htno", "mode", "tap", "user", "65534", "vnet_hdr")
    argv = where.command(
        *_with_device(200), *NOBODY, *KERNEL, "--net", "tap:htno", "--", "/bin/echo", "cured"
    )
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (ran.returncode, ran.stdout) == (0, "cured\n"), ran.stderr


def test_no_device(lab: Lab) -> None:
    assert "/dev/net/tun: No such file" in refusal(
        *_with_device(None), *KERNEL, "--net", "tap:htno"
    )
    said = refusal(*_with_device(201), *KERNEL, "--net", "tap:htno")  # nobody's number
    assert "/dev/net/tun: No such device" in said
    assert "modprobe tun" in said


def test_an_interface_that_is_none(lab: Lab) -> None:
    said = refusal(*KERNEL, "--net", "tap:lo")
    assert "tap lo" in said
    assert "choose another name" in said


def test_an_interface_that_is_in_use(lab: Lab) -> None:
    where = lab.namespace()
    net = ("--net", "tap:htbusy")
    first = where.start(*KERNEL, *net, "--", "/bin/cat")
    assert first.stdin is not None
    assert first.stdout is not None
    first.stdin.write("up\n")
    first.stdin.flush()
    assert first.stdout.readline() == "up\n"
    said = refusal(*where.command(*KERNEL, *net))
    assert "tap htbusy: Device or resource busy" in said


def test_nothing_is_left_of_what_was_refused(lab: Lab) -> None:
    """A second port that is taken gives the first one back, and the interface goes."""
    where = lab.namespace()
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        refusal(
            *(*KERNEL, "-p", f"127.0.0.1:{port}:80"),
            *("-p", f"127.0.0.1:{taken.getsockname()[1]}:81"),
        )
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))
    refusal(*where.command(*KERNEL, "--net", "tap:htgone", "--pcap", os.path.join("/no", "where")))
    assert "htgone" not in where.run("ip", "link")
