"""Options and exit codes that the commands of `soundflow bench` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundflow.cli.common import INCOMPLETE

if TYPE_CHECKING:
    from soundflow.bench.harness.collect import RunProgress

RunDirectory = Annotated[Path, typer.Option("-o", "--out", help="Directory of the run.", show_default=False)]
Checkpoint = Annotated[Path | None, typer.Option(help="Directory of a checkpoint made by `soundflow train`.")]
Chat = Annotated[str | None, typer.Option(help="Name of a chat model with audio input.")]
Server = Annotated[
    str | None, typer.Option(help="Address of the OpenAI-compatible server of the chat model, such as http://127.0.0.1:8000/v1.")
]
Threshold = Annotated[float, typer.Option(min=0.001, max=0.999, help="Minimum probability at which the model responds.")]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Maximum number of concurrent calls to the server.")]
Label = Annotated[str | None, typer.Option(help="Name of the model in the report (default: its path or name).")]


def one_of(model: Path | None, chat: str | None) -> None:
    """Raise InputError unless exactly one of the two is given."""
    from soundflow.schemas.base import InputError

    if (model is None) == (chat is None):
        raise InputError("give either --model or --chat", remedy="Name one checkpoint or one chat model")


def finish(progress: RunProgress, out: Path) -> None:
    """Report the missing rows on stderr and exit with code 3."""
    for fault in progress.faults[:5]:
        typer.echo(f"no answer: {fault}", err=True)
    missing = progress.expected - progress.answered
    typer.echo(f"{missing} of {progress.expected} rows are missing; run the same command again to resume in {out}", err=True)
    raise typer.Exit(INCOMPLETE)
