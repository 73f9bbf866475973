"""On whose behalf a process acts (credentials(7)): users, groups, capabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.fs.api import Cred
from services.proc import capabilities

if TYPE_CHECKING:
    from services.proc.capabilities import Capabilities

_IDS = ("ruid", "euid", "suid", "fsuid", "rgid", "egid", "sgid", "fsgid", "groups", "caps")


class Credentials:
    """Real, effective, saved and file-system ids, and capabilities; replaced, never changed."""

    __slots__ = ("cred", *_IDS)

    ruid: int
    euid: int
    suid: int
    fsuid: int
    rgid: int
    egid: int
    sgid: int
    fsgid: int
    groups: tuple[int, ...]
    caps: Capabilities

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...] = ()) -> None:
        self.ruid = self.euid = self.suid = self.fsuid = uid
        self.rgid = self.egid = self.sgid = self.fsgid = gid
        self.groups = groups
        self.caps = capabilities.NONE if uid else capabilities.ALL
        self.cred = Cred(uid, gid, frozenset(groups))

    @property
    def users(self) -> tuple[int, int, int]:
        """Real, effective and saved user."""
        return self.ruid, self.euid, self.suid

    def can(self, capability: int) -> bool:
        """Whether a capability is effective."""
        return bool(self.caps.effective >> capability & 1)

    def changed(self, **ids: Any) -> Credentials:
        """A copy with some ids replaced; the file-system ids follow the effective ones."""
        twin = Credentials(0, 0)
        for name in _IDS:
            setattr(twin, name, ids.get(name, getattr(self, name)))
        twin.fsuid = ids.get("fsuid", ids.get("euid", self.fsuid))
        twin.fsgid = ids.get("fsgid", ids.get("egid", self.fsgid))
        if "caps" not in ids:
            twin.caps = self.caps.after_users(self.users, twin.users, (self.fsuid, twin.fsuid))
        twin.cred = Cred(twin.fsuid, twin.fsgid, frozenset(twin.groups))
        return twin

    def after_exec(self, set_uid: int | None, set_gid: int | None) -> Credentials:
        """execve(2) of a file that is set-user-id or set-group-id, or (None) is not."""
        euid = self.euid if set_uid is None else set_uid
        egid = self.egid if set_gid is None else set_gid
        gained = euid != self.ruid or egid != self.rgid
        caps = self.caps.after_exec(self.ruid, euid, gained)
        return self.changed(euid=euid, suid=euid, egid=egid, sgid=egid, caps=caps)
