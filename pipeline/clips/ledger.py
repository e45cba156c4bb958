"""The working memory of an indexing run: a SQLite file in the index's directory.

It bounds the memory of a run over a million rows, joins rows with what became of their files, and remembers between runs
which files were seen unchanged and when words are heard. Nothing in it is needed to USE an index; deleting it costs one hashing
of every source file and one aligning (and interpreting) of all speech.
SQLite's own lock keeps two runs out of one directory.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from soundflow.operators.clean.clip_cache import Treatment
from soundflow.operators.sources.rows import SourceRow, safe_id
from soundflow.pipeline.clips.workers import Seen, Work
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRejection

FILE: Final = "working.sqlite"
VERSION: Final = 1
BATCH: Final = 2000
COMMIT_SECONDS: Final = 1.0

_SEEN = (
    "CREATE TABLE IF NOT EXISTS seen (path TEXT PRIMARY KEY, size INT, mtime INT, ctime INT, inode INT, content TEXT)"
    " WITHOUT ROWID"
)
_FOUND = "CREATE TABLE IF NOT EXISTS found (key TEXT PRIMARY KEY, maker TEXT, told TEXT) WITHOUT ROWID"
_FIELDS: Final = tuple("origin" if name == "source" else name for name in SourceRow.model_fields)
_values: Final = attrgetter(*SourceRow.model_fields)
_RUN = (
    "CREATE TABLE sources (source INTEGER PRIMARY KEY, name TEXT)",
    f"CREATE TABLE rows (number INTEGER PRIMARY KEY, source INT, {', '.join(_FIELDS)}, treatment TEXT, twin TEXT)",
    "CREATE TABLE work (path TEXT, treatment TEXT, content TEXT, entry TEXT, reason TEXT, detail TEXT,"
    " PRIMARY KEY (path, treatment)) WITHOUT ROWID",
    "CREATE TABLE rejected (path TEXT, reason TEXT, detail TEXT)",
)


class Ledger:
    """Use as a context manager; raises InputError when another run holds it."""

    def __init__(self, directory: Path):
        self.path = directory / FILE
        self._db, self._committed = self._open(), time.monotonic()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("COMMIT")
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        for attempt in (1, 2):
            db = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
            try:
                db.execute("PRAGMA locking_mode=EXCLUSIVE")
                db.execute("PRAGMA synchronous=OFF")  # a working file: after a power cut it is made anew
                db.execute("BEGIN EXCLUSIVE")
                if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                    db.execute("DROP TABLE IF EXISTS seen")
                    db.execute(f"PRAGMA user_version={VERSION}")
                for table in ("sources", "rows", "work", "rejected"):
                    db.execute(f"DROP TABLE IF EXISTS {table}")
                for statement in (_SEEN, _FOUND, *_RUN):
                    db.execute(statement)
                db.create_function("safe_id", 1, safe_id, deterministic=True)
                return db
            except sqlite3.OperationalError as error:
                db.close()
                if "locked" in str(error):
                    raise InputError("another run is at work on it", file=self.path.parent, remedy="Wait for it") from None
                raise OSError(f"{self.path}: {error}") from None
            except sqlite3.DatabaseError:
                db.close()
                if attempt == 2:
                    raise
                self.path.unlink(missing_ok=True)
        raise AssertionError("unreachable")

    def commit(self) -> None:
        """Make what was found so far survive a kill."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN EXCLUSIVE")
        self._committed = time.monotonic()

    def commit_as_it_goes(self) -> None:
        """The same, when the last time was a second ago: called for every clip, it costs nothing."""
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()

    def add_source(self, number: int, name: str, found: Iterable[SourceRow | ClipRejection]) -> int:
        """Take in the rows and rejections of one source; returns how many."""
        self._db.execute("INSERT INTO sources VALUES (?, ?)", (number, name))
        count = 0
        stream = iter(found)
        while batch := list(islice(stream, BATCH)):
            count += len(batch)
            rows = [row for row in batch if isinstance(row, SourceRow)]
            self._db.executemany(
                f"INSERT INTO rows VALUES (NULL, ?, {'?, ' * len(_FIELDS)} ?, NULL)",
                [(number, *_values(row), Treatment.of(row.role).value) for row in rows],
            )
            work = {(row.path, Treatment.of(row.role).value) for row in rows}
            self._db.executemany("INSERT OR IGNORE INTO work (path, treatment) VALUES (?, ?)", sorted(work))
            for rejection in batch:
                if isinstance(rejection, ClipRejection):
                    self.reject(rejection)
        return count

    def separate_sources(self) -> None:
        """Where an id or a dialogue comes from two sources, put each source's name before it."""
        for name in ("id", "dialogue"):
            self._db.execute(
                f"UPDATE rows SET {name} = safe_id((SELECT name FROM sources s WHERE s.source = rows.source) || '/' || {name})"
                f" WHERE {name} IN (SELECT {name} FROM rows WHERE {name} <> '' GROUP BY {name} HAVING COUNT(DISTINCT source) > 1)"
            )

    def reject(self, rejection: ClipRejection) -> None:
        """List a file or row that is no clip."""
        self._db.execute("INSERT INTO rejected VALUES (?, ?, ?)", (rejection.path, rejection.reason, rejection.detail))

    def work(self, *, pending: bool) -> Iterator[list[tuple[Work, str | None]]]:
        """Batches of (work, content hash if known), in path order; `pending` leaves out what is settled."""
        last = ("", "")
        wanted = "AND entry IS NULL AND reason IS NULL" if pending else ""
        while batch := self._db.execute(
            f"SELECT path, treatment, content FROM work WHERE (path, treatment) > (?, ?) {wanted}"
            " ORDER BY path, treatment LIMIT ?",
            (*last, BATCH),
        ).fetchall():
            last = batch[-1][:2]
            yield [(Work(path, treatment), content) for path, treatment, content in batch]

    def known(self, path: str, seen: Seen) -> str | None:
        """The content hash of a file that looks as it did when it was hashed."""
        found = self._db.execute(
            "SELECT content FROM seen WHERE path=? AND size=? AND mtime=? AND ctime=? AND inode=?", (path, *seen)
        ).fetchone()
        return str(found[0]) if found else None

    def remember(self, path: str, seen: Seen, content: str) -> None:
        """Note the hash of a file for later runs."""
        self._db.execute("INSERT OR REPLACE INTO seen VALUES (?,?,?,?,?,?)", (path, *seen, content))

    def found(self, key: str) -> tuple[str, str] | None:
        """What somebody found out about a text in a recording (`pipeline.clips.align`): who, and what, as JSON."""
        row = self._db.execute("SELECT maker, told FROM found WHERE key=?", (key,)).fetchone()
        return (str(row[0]), str(row[1])) if row else None

    def remember_found(self, key: str, maker: str, told: str) -> None:
        """Note it for later runs."""
        self._db.execute("INSERT OR REPLACE INTO found VALUES (?,?,?)", (key, maker, told))

    def note_content(self, work: Work, content: str) -> None:
        """The file's hash is known, its entry is not."""
        self._db.execute("UPDATE work SET content=? WHERE path=? AND treatment=?", (content, *work))

    def settle(
        self, work: Work, *, content: str = "", entry: str | None = None, reason: str | None = None, detail: str = ""
    ) -> None:
        """What became of a file: a cache entry, or a reason."""
        self._db.execute(
            "UPDATE work SET content=?, entry=?, reason=?, detail=? WHERE path=? AND treatment=?",
            (content, entry, reason, detail, *work),
        )

    def count_work(self) -> int:
        """How many files (and treatments) there are to look at."""
        return self._count("work")

    def mark_twins(self) -> None:
        """Rows of folders that are another one's content, role, label and transcript: the smallest id stands for all."""
        self._db.execute("CREATE INDEX IF NOT EXISTS rows_by_id ON rows (id, number)")
        self._db.execute("DROP TABLE IF EXISTS temp.firsts")
        self._db.execute(
            "CREATE TEMP TABLE firsts AS SELECT number, id, FIRST_VALUE(id) OVER"
            " (PARTITION BY w.content, r.role, r.label, r.transcript ORDER BY r.id, r.number) AS twin"
            " FROM rows r JOIN work w USING (path, treatment) WHERE NOT r.listed AND w.entry IS NOT NULL"
        )
        self._db.execute("UPDATE rows SET twin = f.twin FROM temp.firsts f WHERE rows.number = f.number AND f.twin <> f.id")

    def rows(self) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
        """(fields of the SourceRow but `listed`, (twin, entry, reason, detail)) in id order, then as they were found."""
        wanted = [(name, field) for name, field in zip(SourceRow.model_fields, _FIELDS, strict=True) if name != "listed"]
        columns = ", ".join(field for _, field in wanted)
        cursor = self._db.execute(
            f"SELECT {columns}, r.twin, w.entry, w.reason, w.detail FROM rows r JOIN work w USING (path, treatment)"
            " ORDER BY r.id, r.number"
        )
        cursor.arraysize = BATCH
        names = [name for name, _ in wanted]
        return ((dict(zip(names, row, strict=False)), row[len(names) :]) for row in cursor)

    def rejected(self) -> Iterator[ClipRejection]:
        """Everything that is no clip, in path order."""
        for path, reason, detail in self._db.execute("SELECT * FROM rejected ORDER BY path, reason, detail"):
            yield ClipRejection(path=path, reason=reason, detail=detail)

    def reasons(self) -> dict[str, int]:
        """How often each reason."""
        return dict(self._db.execute("SELECT reason, COUNT(*) FROM rejected GROUP BY reason ORDER BY reason"))

    def forget_vanished(self) -> None:
        """Drop what is remembered of files that no source names any more."""
        self._db.execute("DELETE FROM seen WHERE path NOT IN (SELECT path FROM work)")

    def _count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def source_names(sources: Sequence[Path]) -> list[str]:
    """A name for each source, all different: its folder's, or its file's without suffix."""
    names: list[str] = []
    for source in sources:
        name = (source.name if os.path.isdir(source) else source.stem) or "source"  # noqa: PTH112 (raises nothing)
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names
