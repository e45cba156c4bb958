"""Tables of figures with named rows and columns: stored in results, printed in terminals and shown on report pages."""

from __future__ import annotations

from collections.abc import Mapping

from soundflow.schemas.base import Schema

Cell = float | str | None
"""A figure, the reason why there is none, or None if it is undefined."""


class Grid(Schema):
    """A table of figures."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """Name of the row and one cell per column of `head`."""

    @classmethod
    def of(cls, rows: Mapping[str, Mapping[str, Cell]]) -> Grid:
        """Return the grid of rows that have the same columns."""
        head = tuple(next(iter(rows.values())))
        return cls(head=head, rows=tuple((name, tuple(cells[key] for key in head)) for name, cells in rows.items()))

    def lines(self) -> list[str]:
        """Return the lines to print in a terminal."""
        width = max(len(name) for name, _ in self.rows)
        widths = [max(len(key), 8) + 2 for key in self.head]
        rows = [("", self.head), *((name, tuple(map(format_cell, cells))) for name, cells in self.rows)]
        return [name.ljust(width) + "".join(map(str.rjust, cells, widths)) for name, cells in rows]


def percent(share: float | None) -> float | None:
    """Convert a share to percent, rounded as results store it."""
    return None if share is None else round(100.0 * share, 4)


def format_cell(cell: Cell) -> str:
    """Format a cell; an undefined one is a dash."""
    return "–" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}"
