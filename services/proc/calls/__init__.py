"""The system calls, a room for each subject; every module here declares rows of the table."""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Import every room, so that its calls are declared."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
