"""What fs and the disk say of themselves: caches, the journal, the disk's queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bus.metrics import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bus.metrics import Measure


def caches(tree: Any) -> Iterator[Measure]:
    """Names, pages, and blocks of disks."""
    blocks = [v.store.ext4.cache for v in tree.volumes.values() if hasattr(v.store, "ext4")]
    yield gauge(
        "hardtack_cache_entries",
        "What fs has in memory: names, pages, blocks of disks.",
        {
            ("names",): tree.names,
            ("pages",): tree.frames.cached,
            ("blocks",): sum(map(len, blocks)),
        },
        ("cache",),
    )
    yield gauge(
        "hardtack_cache_kept_pages",
        "Pages that only memory has, which cannot be evicted.",
        {(): tree.frames.kept},
    )
    lookups: dict[tuple[str, ...], float] = {}
    for what, hits, misses in (
        ("names", tree.name_hits, tree.name_misses),
        ("blocks", sum(c.hits for c in blocks), sum(c.misses for c in blocks)),
    ):
        lookups[what, "hit"], lookups[what, "miss"] = hits, misses
    yield counter(
        "hardtack_cache_lookups_total",
        "Look-ups in the caches of names and of blocks.",
        lookups,
        ("cache", "outcome"),
    )
    yield counter(
        "hardtack_cache_evictions_total",
        "Entries that were given up for others, or for the heap.",
        {
            ("names",): tree.names_evicted,
            ("pages",): tree.frames.evicted,
            ("blocks",): sum(cache.evicted for cache in blocks),
        },
        ("cache",),
    )


def journals(tree: Any) -> Iterator[Measure]:
    """Those of volumes that are written."""
    found = {
        v.source.decode(errors="replace"): v.store.journal
        for v in tree.volumes.values()
        if getattr(v.store, "journal", None) is not None
    }
    for name, text in (("commits", "Transactions made durable."),
                       ("checkpoints", "How often the log was emptied.")):  # fmt: skip
        yield counter(
            f"hardtack_journal_{name}_total",
            text,
            {(volume,): getattr(journal, name) for volume, journal in found.items()},
            ("volume",),
        )
    yield gauge(
        "hardtack_journal_used_blocks",
        "Blocks of the log that are not home yet.",
        {(volume,): journal.used for volume, journal in found.items()},
        ("volume",),
    )
    yield gauge(
        "hardtack_journal_aborted",
        "1: the journal has stopped, and the volume is read-only.",
        {(volume,): int(bool(journal.aborted)) for volume, journal in found.items()},
        ("volume",),
    )


def disk(counts: Mapping[str, int]) -> Iterator[Measure]:
    """The driver's queue."""
    yield counter(
        "hardtack_disk_commands_total",
        "Commands to the disk: all, those that went along with a neighbour, failed, or late.",
        {
            ("all",): counts["commands"],
            ("merged",): counts["merged"],
            ("failed",): counts["failed"],
            ("late",): counts["late"],
        },
        ("kind",),
    )
    yield counter(
        "hardtack_disk_transfers_total", "Transfers to the image.", {(): counts["transfers"]}
    )
    yield counter("hardtack_disk_interrupts_total", "Completions told.", {(): counts["interrupts"]})
    yield gauge(
        "hardtack_disk_queue_deepest", "The most commands that waited.", {(): counts["deepest"]}
    )
