"""The path caches: where whole walks have led.

A key is (root node, base node, path, follow). Remembered are walks that met no refusal, went
through no volatile volume and never up by `..`. uid 0 may search every directory and has one
cache (`root`); others have one each per `Cred`.

A dentry knows its entries (`known_as`) and takes them along when it is removed, moved or evicted
(`forget`). That is enough for files and, as only empty ones are removed, for directories. What
changes where other paths lead (a link goes, a directory moves, a mount) or who may walk them calls
`clear`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.fs.core_inode import CACHED

if TYPE_CHECKING:
    from services.fs.api import Cred
    from services.fs.core_inode import Dentry, PathKey

PATHS_LIMIT = 16384
CREDS_LIMIT = 64
ALIASES_LIMIT = 64


class PathCache:
    """All caches; `root` stays the same dictionary for good."""

    __slots__ = ("_of", "root", "until_ns")

    def __init__(self) -> None:
        self.root: dict[PathKey, Dentry] = {}
        self._of: dict[Cred, dict[PathKey, Dentry]] = {}
        self.until_ns = 0
        """No entry is good after this (`Tree.ticks`): stores may have changed meanwhile."""

    def of(self, cred: Cred) -> dict[PathKey, Dentry]:
        """The cache of whoever walks."""
        if cred.uid == 0:
            return self.root
        known = self._of.get(cred)
        if known is None:
            if len(self._of) >= CREDS_LIMIT:
                self._of.clear()
            known = self._of[cred] = {}
        return known

    def remember(self, paths: dict[PathKey, Dentry], key: PathKey, dentry: Dentry) -> None:
        """A walk has led to a dentry."""
        if len(paths) >= PATHS_LIMIT or len(dentry.known_as) >= ALIASES_LIMIT:
            self.clear()
            self.forget(dentry)
        CACHED.made()
        paths[key] = dentry
        dentry.known_as.append((paths, key))

    def forget(self, dentry: Dentry) -> None:
        """Paths that led to a dentry lead there no more."""
        if dentry.known_as:
            for paths, key in dentry.known_as:
                paths.pop(key, None)
                CACHED.freed()
            dentry.known_as.clear()

    def clear(self) -> None:
        """No whole path that was walked before can be trusted."""
        self.root.clear()
        if self._of:
            for paths in self._of.values():
                paths.clear()
            self._of.clear()
