"""`hardtack`, and a count of live blocks whenever SIGUSR1 comes: `python counted.py FILE run …`.

The count is made after a full collection, so that what only waits for one does not count, and it
is written to FILE: a test that wants to know whether something is kept compares two of them.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))


def main() -> int:
    """The command line behind FILE."""
    from boot.cli import main as hardtack

    path = Path(sys.argv[1])
    part = path.with_suffix(".part")

    def count(number: int, frame: object) -> None:
        gc.unfreeze()  # what the collector has put aside may be garbage by now
        gc.collect()
        part.write_text(str(sys.getallocatedblocks()))
        os.replace(part, path)

    signal.signal(signal.SIGUSR1, count)
    return hardtack(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
