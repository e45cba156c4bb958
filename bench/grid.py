"""Tables of figures whose rows and columns have names: as results keep them, as terminals and pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Cell = float | str | None


def grid(rows: Mapping[str, Mapping[str, Cell]]) -> dict[str, Any]:
    """{head, rows}, JSON that keeps the order; every row has the columns of the first."""
    head = list(next(iter(rows.values())))
    return {"head": head, "rows": [[name, *(cells[key] for key in head)] for name, cells in rows.items()]}


def percent(share: float | None) -> float | None:
    """A share as results keep it."""
    return None if share is None else round(100.0 * share, 4)


def shown(cell: Cell) -> str:
    """A cell as text; what is not defined is a dash."""
    return "–" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}"


def lines(made: Mapping[str, Any]) -> list[str]:
    """A grid for terminals."""
    width = max(len(name) for name, *_ in made["rows"])
    widths = [max(len(key), 8) + 2 for key in made["head"]]
    rows = [("", made["head"]), *((name, [shown(cell) for cell in cells]) for name, *cells in made["rows"])]
    return [
        f"{name:<{width}}" + "".join(f"{cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True)) for name, cells in rows
    ]
