"""What commands share: exit codes, options and arguments of more than one, where output goes."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

FAILED: Final = 1
"""`verify` found problems."""
USAGE: Final = 2
INCOMPLETE: Final = 3
"""Shards failed or are missing; the same command resumes."""
INTERRUPTED: Final = 130

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Timeout = Annotated[float | None, typer.Option(min=1, max=3600, help="Seconds one call to a server may take; default 120.")]
Retries = Annotated[int | None, typer.Option(min=0, max=100, help="Of a call whose server or line failed; default 8.")]
Build = Annotated[Path, typer.Argument(metavar="DIR", help="A build, stored or virtual.", show_default=False)]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", show_default=False)]
Index = Annotated[Path, typer.Argument(metavar="INDEX", help="Directory of a clip index.", show_default=False)]
Processes = Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")]
LlmOf = Annotated[Path, typer.Option(metavar="RECIPE", help="Take the llm section of this recipe.", show_default=False)]
MaybeLlmOf = Annotated[Path | None, typer.Option(metavar="RECIPE", help="Take the llm section of this recipe.")]


class ExecutorName(StrEnum):
    """Where the work is done."""

    INLINE = "inline"
    RAY = "ray"


Executor = Annotated[ExecutorName, typer.Option(help="inline needs no Ray and uses one core.")]


def say(text: str) -> None:
    """A line for people, on stdout."""
    typer.echo(text)


def say_json(document: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, ensure_ascii=False, sort_keys=True))
