"""Commits rows to SQLite, reads others back; "sqlite N" once row N is committed.

With `check N` instead: are the rows up to N there, and whole?
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import sys

KEPT = 500


def content(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest() * 4


def say(text: object) -> None:
    print("sqlite", text, flush=True)


def look(db: sqlite3.Connection, number: int) -> None:
    found = db.execute("SELECT content FROM rows WHERE id = ?", (number,)).fetchone()
    if found is None or found[0] != content(number):
        say(f"lost {len(content(number))} row {number}: {found and found[0][:20]}")


def work(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, content TEXT)")
    number = 0
    while True:
        number += 1
        try:
            with db:
                db.execute("INSERT INTO rows VALUES (?, ?)", (number, content(number)))
                db.execute("DELETE FROM rows WHERE id <= ?", (number - KEPT,))
            look(db, random.randint(max(1, number - KEPT + 1), number))
        except (sqlite3.Error, OSError) as error:
            say(f"! row {number}: {error!r}")
            continue
        say(number)


def check(db: sqlite3.Connection, last: int) -> None:
    verdict = db.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        say(f"lost 1 integrity: {verdict[:200]!r}")
    for number in range(max(1, last - KEPT + 2), last + 1):
        look(db, number)
    say("checked")


database = sqlite3.connect("rows.db")
if sys.argv[1:2] == ["check"]:
    check(database, int(sys.argv[2]))
else:
    work(database)
