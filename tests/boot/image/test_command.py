"""Does `hardtack image` make, list, check and export, and say plainly what it cannot?"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from boot.cli import main
from boot.image import debian, tools

if TYPE_CHECKING:
    from pathlib import Path

needs_e2fsprogs = pytest.mark.skipif(tools.find("e2fsck") is None, reason="no e2fsprogs")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/two words").write_text("content\n")
    (tree / "etc/tool").write_text("#!/bin/sh\n")
    (tree / "etc/tool").chmod(0o755)
    (tree / "link").symlink_to("etc/tool")
    return tree


@needs_e2fsprogs
def test_a_directory_goes_in_and_comes_out(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = str(tmp_path / "disk.ext4"), tmp_path / "out"
    assert main(["image", "from-dir", image, str(tree)]) == 0
    assert main(["image", "check", image]) == 0
    capsys.readouterr()
    assert main(["image", "ls", image, "/etc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=4)[4] for line in lines] == ["tool", "two words"]
    assert lines[0].startswith("-rwxr-xr-x")
    assert main(["image", "export", image, "/", str(out)]) == 0
    assert (out / "etc/two words").read_text() == "content\n"
    assert (out / "etc/tool").stat().st_mode & stat.S_IXUSR
    assert os.readlink(out / "link") == "etc/tool"
    assert main(["image", "export", image, "/etc/two words", str(tmp_path / "one")]) == 0
    assert (tmp_path / "one").read_text() == "content\n"


@needs_e2fsprogs
@pytest.mark.parametrize("ours", [False, True])
def test_an_empty_one_is_sound(
    tmp_path: Path,
    ours: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, find = str(tmp_path / "disk.ext4"), tools.find
    with monkeypatch.context() as patch:
        if ours:
            patch.setattr(tools, "find", lambda name: None if name == "mke2fs" else find(name))
        assert main(["image", "create", image, "--size", "32M", "--label", "box"]) == 0
    assert ("by hardtack" in capsys.readouterr().out) == ours
    assert main(["image", "check", image]) == 0
    assert "box: 11/" in capsys.readouterr().out
    assert os.stat(image).st_size == 32 << 20


@needs_e2fsprogs
def test_what_is_not_sound_is_told_and_repaired(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "disk.ext4"
    assert main(["image", "from-dir", str(image), str(tree), "--size", "16M"]) == 0
    with image.open("r+b") as file:  # free blocks and inodes in the superblock
        file.seek(1024 + 12)
        file.write(b"\1\0\0\0\1\0\0\0")
    assert main(["image", "check", str(image)]) == 1
    assert main(["image", "check", str(image), "--repair"]) == 0
    assert main(["image", "check", str(image)]) == 0


def test_what_cannot_be_is_said_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"mine")
    cases = {
        "is there already": ["create", str(there)],
        "too few": ["create", str(tmp_path / "new"), "--size", "1M"],
        "is no directory": ["from-dir", str(tmp_path / "new"), str(there)],
        "there is no image": ["ls", str(tmp_path / "new")],
        "is the place writable": ["create", str(tmp_path / "no/where")],
    }
    for said, words in cases.items():
        assert main(["image", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error
    assert there.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["there"]


@needs_e2fsprogs
def test_an_image_too_small_for_its_content_leaves_nothing(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "large").write_bytes(os.urandom(20 << 20))
    image = tmp_path / "disk.ext4"
    assert main(["image", "from-dir", str(image), str(tree), "--size", "8M"]) == 2
    assert "mke2fs left with status" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["tree"]


@needs_e2fsprogs
def test_a_file_that_is_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "junk").write_bytes(bytes(1 << 20))
    assert main(["image", "ls", str(tmp_path / "junk")]) == 2
    assert "see hardtack image check" in capsys.readouterr().err
    assert main(["image", "check", str(tmp_path / "junk")]) != 0


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg")
def test_packages_are_unpacked_over_a_merged_usr(tmp_path: Path) -> None:
    package, tree = tmp_path / "package", tmp_path / "tree"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: shell\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: a\n"
    )
    (package / "bin").mkdir()
    (package / "bin/bash").write_text("a shell\n")
    archive = tmp_path / "shell.deb"
    tools.run(["dpkg-deb", "--build", str(package), str(archive)])
    tree.mkdir()
    debian.unpack([archive], tree)
    debian.complete(tree)
    assert (tree / "bin").is_symlink()
    assert (tree / "usr/bin/bash").read_text() == "a shell\n"
    assert os.readlink(tree / "bin/sh") == "bash"
    assert "root:x:0:0" in (tree / "etc/passwd").read_text()
    assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777
