"""What does not yet do what Linux does, each with the reason; strict: a closed gap shows."""

from __future__ import annotations

import pytest

GAPS: dict[str, str] = {}


def marks(name: str) -> list[pytest.MarkDecorator]:
    """The xfail mark of a known gap, or none."""
    return [pytest.mark.xfail(reason=GAPS[name], strict=True)] if name in GAPS else []
