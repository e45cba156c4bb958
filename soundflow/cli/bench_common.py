"""Options and endings that the commands of `soundflow bench` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundflow.cli.common import INCOMPLETE

if TYPE_CHECKING:
    from soundflow.bench.harness.driving import Driven

RunDirectory = Annotated[Path, typer.Option("-o", "--out", help="Directory of the run.", show_default=False)]
Checkpoint = Annotated[Path | None, typer.Option(help="A checkpoint made by `soundflow train`.")]
Chat = Annotated[str | None, typer.Option(help="Name of a chat model that hears.")]
Server = Annotated[str | None, typer.Option(help="Its address, such as http://127.0.0.1:8000/v1.")]
Threshold = Annotated[float, typer.Option(min=0.001, max=0.999, help="Respond from this probability on.")]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Calls to the server in flight.")]
Label = Annotated[str | None, typer.Option(help="How the report calls this model.")]


def one_of(model: Path | None, chat: str | None) -> None:
    """InputError unless one of the two is tested."""
    from soundflow.schemas.base import InputError

    if (model is None) == (chat is None):
        raise InputError("one of --model and --chat says who is tested", remedy="Give a checkpoint, or a chat model's name")


def finish(driven: Driven, out: Path) -> None:
    """Say what is missing and leave with the exit code for it."""
    for fault in driven.faults[:5]:
        typer.echo(f"no answer: {fault}", err=True)
    left = driven.asked - driven.answered
    typer.echo(f"{left} of {driven.asked} rows are missing; the same command goes on in {out}", err=True)
    raise typer.Exit(INCOMPLETE)
