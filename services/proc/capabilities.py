"""Capabilities (capabilities(7)): pure sets of bits, and the rules by which they change.

The kernel asks `Credentials.can` before it does what only the mighty may. The file system is the
exception: it knows users, and root is root there whatever capabilities it has given up.
"""

from __future__ import annotations

import attrs

CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_KILL = range(6)
CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_LINUX_IMMUTABLE, CAP_NET_BIND_SERVICE = range(6, 11)
CAP_NET_BROADCAST, CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_IPC_OWNER = range(11, 16)
CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_PACCT = range(16, 21)
CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYS_NICE, CAP_SYS_RESOURCE, CAP_SYS_TIME = range(21, 26)
CAP_SYS_TTY_CONFIG, CAP_MKNOD, CAP_LAST = 26, 27, 40
FULL = (1 << CAP_LAST + 1) - 1
FILE_SYSTEM = sum(1 << cap for cap in (0, 1, 2, 3, 4, CAP_LINUX_IMMUTABLE, CAP_MKNOD, 32))
"""Those that follow the file-system user id (32 is CAP_MAC_OVERRIDE)."""

NOROOT, NO_SETUID_FIXUP, KEEP_CAPS, NO_CAP_AMBIENT_RAISE = 1 << 0, 1 << 2, 1 << 4, 1 << 6
SECURE_BITS = 0xFF
LOCKS = 0xAA
"""Each bit that locks the one below it."""


@attrs.frozen
class Capabilities:
    """The five sets of a process, and its securebits."""

    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    bounding: int = FULL
    ambient: int = 0
    secure: int = 0

    @property
    def sets(self) -> tuple[int, int, int]:
        """In the order of capget(2)."""
        return self.effective, self.permitted, self.inheritable

    def with_sets(self, effective: int, permitted: int, inheritable: int) -> Capabilities | None:
        """capset(2); None where it may not."""
        may_add = self.effective >> CAP_SETPCAP & 1
        if not may_add and inheritable & ~(self.inheritable | self.permitted):
            return None
        if inheritable & ~(self.inheritable | self.bounding):
            return None
        if permitted & ~self.permitted or effective & ~permitted:
            return None
        ambient = self.ambient & permitted & inheritable
        return attrs.evolve(
            self,
            effective=effective,
            permitted=permitted,
            inheritable=inheritable,
            ambient=ambient,
        )

    def after_users(
        self, old: tuple[int, int, int], new: tuple[int, int, int], fs: tuple[int, int]
    ) -> Capabilities:
        """The effect of new (real, effective, saved) users; `fs` is the old and the new fsuid."""
        caps = self
        if caps.secure & NO_SETUID_FIXUP:
            return caps
        if 0 in old and 0 not in new:
            if not caps.secure & KEEP_CAPS:
                caps = attrs.evolve(caps, permitted=0, effective=0)
            caps = attrs.evolve(caps, ambient=0)
        if not old[1] and new[1]:
            caps = attrs.evolve(caps, effective=0)
        elif old[1] and not new[1]:
            caps = attrs.evolve(caps, effective=caps.permitted)
        elif old == new and bool(fs[0]) != bool(fs[1]):
            lost = caps.effective & ~FILE_SYSTEM
            gained = caps.effective | caps.permitted & FILE_SYSTEM
            caps = attrs.evolve(caps, effective=gained if fs[1] == 0 else lost)
        return caps

    def after_exec(self, real: int, effective: int, gained: bool) -> Capabilities:
        """execve(2) as those users; `gained` says that the file made them what they are."""
        ambient = 0 if gained else self.ambient
        permitted = raised = ambient
        if not self.secure & NOROOT and 0 in (real, effective):
            permitted = self.bounding | self.inheritable
            if effective == 0:
                raised = permitted
        secure = self.secure & ~KEEP_CAPS
        return attrs.evolve(
            self, effective=raised, permitted=permitted, ambient=ambient, secure=secure
        )


ALL, NONE = Capabilities(FULL, FULL), Capabilities()
