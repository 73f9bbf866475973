"""Is the view of the kernel heap what the metrics page says?"""

from __future__ import annotations

from boot.heap import parse, show
from bus.admission import Admission
from bus.census import Heap, kind
from bus.metrics import Metrics, ledger_source


def page_of(heap: Heap, limit: int) -> str:
    ledger = Admission(limit, heap)
    kind("fs", "inode", heap).grew(3000)
    ledger.take_stock()
    kind("proc", "pipe", heap).grew(1000)
    assert ledger.try_admit(500)
    metrics = Metrics()
    metrics.register(ledger_source(ledger))
    return metrics.exposition()[0].decode()


def test_the_terms_and_the_largest_kinds_are_shown() -> None:
    lines = show(parse(page_of(Heap(), 10_000)))
    assert "M 10,000   lastgc 3,000   used +1,000   current 500   45.0 %" in lines[0]
    assert lines[2].split() == ["fs", "3,000", "proc", "1,000"]
    assert [line.split() for line in lines[4:6]] == [
        ["3,000", "0", "fs", "inode"],
        ["1,000", "0", "proc", "pipe"],
    ]


def test_labels_may_hold_quotes_and_braces() -> None:
    assert parse('x{a="1",b="say \\"}\\""} 2.5\n# HELP x\ny 7\n') == {
        ("x", (("a", "1"), ("b", 'say \\"}\\"'))): 2.5,
        ("y", ()): 7.0,
    }
