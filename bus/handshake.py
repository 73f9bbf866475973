"""How two ends of a connection convince each other that they know the same secret.

    caller → callee   hello  [MAGIC, caller, target, nonce of the caller]
    callee → caller   proof  [nonce of the callee, HMAC(secret, "callee", transcript)]
    caller → callee   proof  [HMAC(secret, "caller", transcript)]
    callee → caller   welcome [window]

The transcript holds MAGIC, both names and both nonces, each with its length in front, so that a
proof is worth nothing on another connection, for another pair of services, or in the other
direction (HMAC: RFC 2104, with SHA-256; nonces: 32 bytes). It authenticates and does not encrypt:
for Unix sockets, whose peer's user is checked as well (SO_PEERCRED, unix(7)).

Pure: what is said, not how it travels.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any

import attrs

from bus.wire import WireError

MAGIC = "hardtack-bus-1"
NONCE_BYTES = 32
MIN_SECRET_BYTES = 16
MAX_HELLO_BYTES = 1024
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class AuthenticationError(Exception):
    """The peer does not know the secret, or may not be who it says."""


def new_nonce() -> bytes:
    """Bytes that were never used before."""
    return secrets.token_bytes(NONCE_BYTES)


@attrs.frozen
class Greeting:
    """Who calls whom on a connection, and the two nonces."""

    caller: str
    target: str
    caller_nonce: bytes
    callee_nonce: bytes

    def proof(self, secret: bytes, role: str) -> bytes:
        """What only a holder of the secret can say of this greeting, in this role."""
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"a secret of {len(secret)} bytes is shorter than {MIN_SECRET_BYTES}")
        parts = (role, MAGIC, self.caller, self.target, self.caller_nonce, self.callee_nonce)
        said = hmac.new(secret, digestmod=hashlib.sha256)
        for part in parts:
            word = part if isinstance(part, bytes) else part.encode()
            said.update(len(word).to_bytes(4, "big") + word)
        return said.digest()

    def verify(self, secret: bytes, role: str, proof: bytes) -> None:
        """AuthenticationError unless `proof` is right; takes the same time either way."""
        if not hmac.compare_digest(self.proof(secret, role), proof):
            raise AuthenticationError(
                f"the {role}'s proof for {self.caller}→{self.target} is wrong"
            )


def check_hello(message: Any) -> tuple[str, str, bytes]:
    """(caller, target, nonce) of a hello; WireError where it is none."""
    if type(message) is not list or len(message) != 4 or message[0] != MAGIC:
        raise WireError("not a hello of this version")
    caller, target, nonce = message[1:]
    for name in (caller, target):
        if type(name) is not str or not _NAME.fullmatch(name):
            raise WireError(f"{name!r:.80} is no name of a service")
    return caller, target, check_bytes(nonce, NONCE_BYTES)


def check_bytes(value: Any, length: int) -> bytes:
    """`value`, which must be so many bytes."""
    if type(value) is not bytes or len(value) != length:
        raise WireError(f"{length} bytes expected")
    return value
