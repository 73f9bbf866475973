"""The command `hardtack image`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def _out(parser: argparse.ArgumentParser, size: str | None) -> None:
    parser.add_argument("image", metavar="IMAGE", help="the file that is made")
    said = "(%(default)s)" if size else "(by what it holds)"
    parser.add_argument("--size", default=size, metavar="SIZE", help=f"such as 512M or 4G {said}")
    parser.add_argument("--label", default="", help="the volume's name, up to 16 characters")
    parser.add_argument("--force", action="store_true", help="in place of one that is there")


def add_options(image: argparse.ArgumentParser) -> None:
    """The grammar of `hardtack image`."""
    kinds = image.add_subparsers(dest="action", metavar="ACTION", required=True)
    _out(kinds.add_parser("create", help="an empty file system"), "256M")
    from_dir = kinds.add_parser("from-dir", help="with a directory's content")
    _out(from_dir, None)
    from_dir.add_argument("directory", metavar="DIR")
    debian = kinds.add_parser("from-debian", help="with Debian packages and what they need")
    _out(debian, None)
    debian.add_argument("packages", metavar="PACKAGE", nargs="+")
    ls = kinds.add_parser("ls", help="list a directory in it")
    ls.add_argument("image", metavar="IMAGE")
    ls.add_argument("path", metavar="PATH", nargs="?", default="/")
    check = kinds.add_parser("check", help="ask e2fsck whether it is sound; status 1 if not")
    check.add_argument("image", metavar="IMAGE")
    check.add_argument("--repair", action="store_true", help="and have it repaired")
    export = kinds.add_parser("export", help="copy a file or directory out of it")
    export.add_argument("image", metavar="IMAGE")
    export.add_argument("path", metavar="PATH")
    export.add_argument("target", metavar="TARGET", help="a new place on this host")


def _create(options: argparse.Namespace) -> int:
    from boot.config import parse_size
    from boot.image import make

    by = make.create(options.image, parse_size(options.size), options.label, options.force)
    print(f"{options.image}: an empty ext4 file system (by {by})")
    return 0


def _from_dir(options: argparse.Namespace) -> int:
    return _filled(options, options.directory)


def _filled(options: argparse.Namespace, directory: str) -> int:
    from boot.config import parse_size
    from boot.image import make

    size = None if options.size is None else parse_size(options.size)
    size = make.from_dir(options.image, directory, size, options.label, options.force)
    print(f"{options.image}: an ext4 file system of {size >> 20} MiB")
    return 0


def _from_debian(options: argparse.Namespace) -> int:
    import tempfile
    from pathlib import Path

    from boot.image import debian

    with tempfile.TemporaryDirectory(prefix="hardtack-image-") as place:
        tree = debian.build(options.packages, Path(place))
        tree.chmod(0o755)
        return _filled(options, str(tree))


def _ls(options: argparse.Namespace) -> int:
    from boot.image import look

    for entry in look.entries(options.image, options.path):
        print(entry)
    return 0


def _check(options: argparse.Namespace) -> int:
    from boot.image import look

    sound, said = look.check(options.image, options.repair)
    print(said)
    return 0 if sound else 1


def _export(options: argparse.Namespace) -> int:
    from boot.image import look

    look.export(options.image, options.path, options.target)
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "create": _create,
    "from-dir": _from_dir,
    "from-debian": _from_debian,
    "ls": _ls,
    "check": _check,
    "export": _export,
}


def image(options: argparse.Namespace) -> int:
    """Do it; the exit status. ConfigError: it cannot be done, and why."""
    return ACTIONS[options.action](options)
