"""What several commands share: exit codes, options and arguments, and how output is printed."""

from __future__ import annotations

import io
import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from soundflow.model.device import Placement

FAILED: Final = 1
"""The check that the command makes has failed: `verify` found problems, `diff` found differences, a gate rejected the speech."""
USAGE: Final = 2
"""The command line or an input file is wrong."""
INCOMPLETE: Final = 3
"""Part of the work failed or is missing; running the same command again resumes."""
INTERRUPTED: Final = 130

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of text.")]
Timeout = Annotated[
    float | None, typer.Option(min=1, max=3600, help="Maximum duration of one call to a server in seconds (default: 120).")
]
Retries = Annotated[int | None, typer.Option(min=0, max=100, help="Number of retries of a failed call to a server (default: 8).")]
Build = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a build, stored or virtual.", show_default=False)]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file (YAML).", show_default=False)]
Index = Annotated[Path, typer.Argument(metavar="INDEX", help="Directory of a clip index.", show_default=False)]
Processes = Annotated[int | None, typer.Option(min=1, help="Number of worker processes (default: one per CPU core).")]
LlmOf = Annotated[
    Path, typer.Option(metavar="RECIPE", help="Recipe file whose llm section names the language model.", show_default=False)
]
MaybeLlmOf = Annotated[
    Path | None, typer.Option(metavar="RECIPE", help="Recipe file whose llm section names the language model.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random choices.")]


Device = Annotated[str, typer.Option(help="Device of the model: auto, cpu, cuda or cuda:N; auto takes a GPU if there is one.")]
Dtype = Annotated[str, typer.Option(help="Type of the weights: auto, fp32 or bf16; auto is bf16 on a GPU and fp32 elsewhere.")]


class ExecutorName(StrEnum):
    """Where the work runs."""

    INLINE = "inline"
    RAY = "ray"


Executor = Annotated[ExecutorName, typer.Option(help="Run on Ray, or inline in this process on one core without Ray.")]
RayAddress = Annotated[
    str | None, typer.Option(help="Address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT (default: this machine).")
]


def placement_of(device: str, dtype: str) -> Placement:
    """Return the placement that `--device` and `--dtype` name. Imports torch."""
    from soundflow.model.device import Placement

    return Placement.of(device, dtype)


def say(text: str) -> None:
    """Print a line for people on stdout."""
    typer.echo(text)


def say_json(document: Any) -> None:
    """Print one JSON document on stdout; characters that stdout cannot encode are written as JSON escapes."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, sort_keys=True)
    typer.echo(text)


def escape_unprintable(*streams: Any) -> None:
    """Let streams write characters outside their encoding as escapes such as `\\u72d7` instead of raising UnicodeEncodeError."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def command_line(*words: object) -> str:
    """Return a command of SoundFlow as text that can be pasted into a shell: words with blanks or quotes are quoted."""
    return shlex.join(["soundflow", *map(str, words)])
