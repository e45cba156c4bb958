"""The working database of a clip index: `DIR/working.sqlite`.

It bounds the memory of a run over a million rows, joins rows with the outcomes of their files, and remembers between runs which
files are unchanged and what `clips align` and `clips interpret` found. An index can be used without it. If it is deleted, all
source files are hashed again by the next run, and all speech has to be aligned (and interpreted) again.

SQLite's own lock prevents two runs in the same directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from soundflow.operators.clean.clip_cache import Treatment
from soundflow.operators.sources.rows import SourceRow, safe_id
from soundflow.pipeline.clips.workers import FileStamp, Work
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
_FOUND = "CREATE TABLE IF NOT EXISTS found (key TEXT PRIMARY KEY, maker TEXT, document TEXT) WITHOUT ROWID"
_FIELDS: Final = tuple("origin" if name == "source" else name for name in SourceRow.model_fields)
_NOT_STORED: Final = ("listed", "excerpt")
"""Fields of a source row that are no fields of its clip."""
_values: Final = attrgetter(*SourceRow.model_fields)
_RUN = (
    "CREATE TABLE sources (source INTEGER PRIMARY KEY, name TEXT)",
    f"CREATE TABLE rows (number INTEGER PRIMARY KEY, source INT, {', '.join(_FIELDS)}, treatment TEXT, twin TEXT)",
    "CREATE TABLE work (path TEXT, treatment TEXT, excerpt TEXT, content TEXT, entry TEXT, reason TEXT, detail TEXT,"
    " PRIMARY KEY (path, treatment, excerpt)) WITHOUT ROWID",
    "CREATE TABLE rejected (path TEXT, reason TEXT, detail TEXT)",
)


class IndexLedger:
    """The open working database. A context manager.

    Raises InputError when another run has it open, and OSError when it cannot be read or written; SQLite's errors inside the
    `with` block become OSErrors too.
    """

    def __init__(self, directory: Path):
        self.path = directory / FILE
        self._db, self._committed = self._open(), time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("COMMIT")
        self._db.close()
        if isinstance(error, sqlite3.Error):
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> OSError:
        return OSError(errno.EIO, f"cannot read or write the working database of the index: {error}", str(self.path))

    def _open(self) -> sqlite3.Connection:
        for attempt in (1, 2):
            db = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
            try:
                db.execute("PRAGMA locking_mode=EXCLUSIVE")
                db.execute("PRAGMA synchronous=OFF")  # after a power failure it is rebuilt
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
                    why = "another run is using this index"
                    raise InputError(why, file=self.path.parent, remedy="Wait until it has finished") from None
                raise self._unusable(error) from None
            except sqlite3.DatabaseError as error:
                db.close()
                if attempt == 2:
                    raise self._unusable(error) from None
                self.path.unlink(missing_ok=True)
        raise AssertionError("unreachable")

    def commit(self) -> None:
        """Commit everything recorded so far, so that it survives a kill."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN EXCLUSIVE")
        self._committed = time.monotonic()

    def commit_if_due(self) -> None:
        """Commit at most once a second; cheap enough to call for every clip."""
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()

    def add_source(self, number: int, name: str, found: Iterable[SourceRow | ClipRejection]) -> int:
        """Add the rows and rejections of one source. Return their number."""
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
            work = {(row.path, Treatment.of(row.role).value, row.excerpt) for row in rows}
            self._db.executemany("INSERT OR IGNORE INTO work (path, treatment, excerpt) VALUES (?, ?, ?)", sorted(work))
            for rejection in batch:
                if isinstance(rejection, ClipRejection):
                    self.reject(rejection)
        return count

    def separate_sources(self) -> None:
        """Prefix ids and dialogue names that occur in more than one source with the name of their source."""
        for name in ("id", "dialogue"):
            self._db.execute(
                f"UPDATE rows SET {name} = safe_id((SELECT name FROM sources s WHERE s.source = rows.source) || '/' || {name})"
                f" WHERE {name} IN (SELECT {name} FROM rows WHERE {name} <> '' GROUP BY {name} HAVING COUNT(DISTINCT source) > 1)"
            )

    def reject(self, rejection: ClipRejection) -> None:
        """Add a file or row to the list of rejections."""
        self._db.execute("INSERT INTO rejected VALUES (?, ?, ?)", (rejection.path, rejection.reason, rejection.detail))

    def work(self, *, pending: bool) -> Iterator[list[tuple[Work, str | None]]]:
        """Yield batches of (work, content hash or None) in path order; with `pending`, only work without an outcome."""
        last = ("", "", "")
        unsettled = "AND entry IS NULL AND reason IS NULL" if pending else ""
        while batch := self._db.execute(
            f"SELECT path, treatment, excerpt, content FROM work WHERE (path, treatment, excerpt) > (?, ?, ?) {unsettled}"
            " ORDER BY path, treatment, excerpt LIMIT ?",
            (*last, BATCH),
        ).fetchall():
            last = batch[-1][:3]
            yield [(Work(path, treatment, excerpt), content) for path, treatment, excerpt, content in batch]

    def content_of(self, path: str, stamp: FileStamp) -> str | None:
        """Return the content hash of a file, or None when the file has changed since it was hashed."""
        row = self._db.execute(
            "SELECT content FROM seen WHERE path=? AND size=? AND mtime=? AND ctime=? AND inode=?", (path, *stamp)
        ).fetchone()
        return str(row[0]) if row else None

    def store_content(self, path: str, stamp: FileStamp, content: str) -> None:
        """Store the content hash of a file for later runs."""
        self._db.execute("INSERT OR REPLACE INTO seen VALUES (?,?,?,?,?,?)", (path, *stamp, content))

    def finding(self, key: str) -> tuple[str, str] | None:
        """Return (maker, JSON document) of the finding stored under `key` (see `pipeline.clips.findings`), or None."""
        row = self._db.execute("SELECT * FROM found WHERE key=?", (key,)).fetchone()  # older files name the last column otherwise
        return (str(row[1]), str(row[2])) if row else None

    def store_finding(self, key: str, maker: str, document: str) -> None:
        """Store a finding for later runs."""
        self._db.execute("INSERT OR REPLACE INTO found VALUES (?,?,?)", (key, maker, document))

    def set_content(self, work: Work, content: str) -> None:
        """Record the content hash of a file that is not in the clip cache yet."""
        self._db.execute("UPDATE work SET content=? WHERE path=? AND treatment=? AND excerpt=?", (content, *work))

    def settle(
        self, work: Work, *, content: str = "", entry: str | None = None, reason: str | None = None, detail: str = ""
    ) -> None:
        """Record the outcome of a file: a cache entry, or the reason why it is rejected."""
        self._db.execute(
            "UPDATE work SET content=?, entry=?, reason=?, detail=? WHERE path=? AND treatment=? AND excerpt=?",
            (content, entry, reason, detail, *work),
        )

    def count_work(self) -> int:
        """Return the number of pairs of a file (or excerpt) and a treatment to clean."""
        return int(self._db.execute("SELECT COUNT(*) FROM work").fetchone()[0])

    def mark_twins(self) -> None:
        """Mark rows of folders that repeat the content, role, label and transcript of another row; the smallest id is kept."""
        self._db.execute("CREATE INDEX IF NOT EXISTS rows_by_id ON rows (id, number)")
        self._db.execute("DROP TABLE IF EXISTS temp.firsts")
        self._db.execute(
            "CREATE TEMP TABLE firsts AS SELECT number, id, FIRST_VALUE(id) OVER"
            " (PARTITION BY w.content, r.role, r.label, r.transcript ORDER BY r.id, r.number) AS twin"
            " FROM rows r JOIN work w USING (path, treatment, excerpt) WHERE NOT r.listed AND w.entry IS NOT NULL"
        )
        self._db.execute("UPDATE rows SET twin = f.twin FROM temp.firsts f WHERE rows.number = f.number AND f.twin <> f.id")

    def rows(self) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
        """Yield (stored fields of SourceRow, (twin, entry, reason, detail)), by id, then in the order they were added."""
        selected = [(name, field) for name, field in zip(SourceRow.model_fields, _FIELDS, strict=True) if name not in _NOT_STORED]
        columns = ", ".join(field for _, field in selected)
        cursor = self._db.execute(
            f"SELECT {columns}, r.twin, w.entry, w.reason, w.detail FROM rows r JOIN work w USING (path, treatment, excerpt)"
            " ORDER BY r.id, r.number"
        )
        cursor.arraysize = BATCH
        names = [name for name, _ in selected]
        return ((dict(zip(names, row, strict=False)), row[len(names) :]) for row in cursor)

    def rejected(self) -> Iterator[ClipRejection]:
        """Yield every rejection in path order."""
        for path, reason, detail in self._db.execute("SELECT * FROM rejected ORDER BY path, reason, detail"):
            yield ClipRejection(path=path, reason=reason, detail=detail)

    def reasons(self) -> dict[str, int]:
        """Return the number of rejections by reason."""
        return dict(self._db.execute("SELECT reason, COUNT(*) FROM rejected GROUP BY reason ORDER BY reason"))

    def forget_vanished(self) -> None:
        """Forget the content hashes of files that are in no source any more."""
        self._db.execute("DELETE FROM seen WHERE path NOT IN (SELECT path FROM work)")


def source_names(sources: Sequence[Path]) -> list[str]:
    """Return a distinct name for each source: that of its folder, or of its file without the suffix."""
    names: list[str] = []
    for source in sources:
        name = (source.name if os.path.isdir(source) else source.stem) or "source"  # noqa: PTH112 (raises nothing)
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names
