"""Tables of figures whose rows and columns have names: as results keep them, as terminals and pages show them."""

from __future__ import annotations

from collections.abc import Mapping

from soundflow.schemas.base import Schema

Cell = float | str | None
"""A figure, why there is none, or what is not defined."""


class Grid(Schema):
    """A table."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """Name and a cell for each column of the head."""

    @classmethod
    def of(cls, rows: Mapping[str, Mapping[str, Cell]]) -> Grid:
        """Of rows with the same columns."""
        head = tuple(next(iter(rows.values())))
        return cls(head=head, rows=tuple((name, tuple(cells[key] for key in head)) for name, cells in rows.items()))

    def lines(self) -> list[str]:
        """For terminals."""
        width = max(len(name) for name, _ in self.rows)
        widths = [max(len(key), 8) + 2 for key in self.head]
        rows = [("", self.head), *((name, tuple(map(shown, cells))) for name, cells in self.rows)]
        return [name.ljust(width) + "".join(map(str.rjust, cells, widths)) for name, cells in rows]


def percent(share: float | None) -> float | None:
    """A share as results keep it."""
    return None if share is None else round(100.0 * share, 4)


def shown(cell: Cell) -> str:
    """A cell as text; what is not defined is a dash."""
    return "–" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}"
