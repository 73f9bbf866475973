"""The registry: every known call's signature, by the call's name."""

from ..model import Signature
from .clocks import CLOCKS
from .descriptors import DESCRIPTORS
from .files import FILES
from .memory import MEMORY
from .network import NETWORK
from .processes import PROCESSES
from .scripts import SCRIPTS
from .signals import SIGNALS

_GROUPS = (CLOCKS, DESCRIPTORS, FILES, MEMORY, NETWORK, PROCESSES, SCRIPTS, SIGNALS)
SIGNATURES: dict[str, Signature] = {name: sig for group in _GROUPS for name, sig in group.items()}
"""By name: how each call is printed. A call that is missing prints as six raw words."""

assert len(SIGNATURES) == sum(map(len, _GROUPS)), "a call has two signatures"
