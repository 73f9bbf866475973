"""What is wrong with a volume, as those hear of it who asked."""

from __future__ import annotations

from errno import EBADMSG, EUCLEAN

from bus.errors import PosixError


class Refused(Exception):
    """No volume, or one that we cannot read: why, in a clause."""


class Damaged(PosixError):
    """The volume contradicts itself at `where`."""

    __slots__ = ("what", "where")

    def __init__(self, where: str, what: str, *, checksum: bool = False) -> None:
        super().__init__(EBADMSG if checksum else EUCLEAN)
        self.where, self.what = where, what

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"
