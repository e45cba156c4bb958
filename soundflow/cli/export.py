"""`export hf|moshi|authors|scaper`: a build in the formats others read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import Build, Json, say, say_json
from soundflow.cli.help import sub_app

export_app = sub_app("Give a corpus to others: a dataset for the hub, or the formats of other systems.")
AnyLicence = Annotated[bool, typer.Option(help="Also where licences are unknown or contradict each other.")]


def _tell_missing(directory: Path) -> None:
    """A build that is not whole is exported as it is, but not in silence."""
    from soundflow.pipeline.corpus.build_dir import BuildDir

    shards = BuildDir(directory).status().shards
    if shards.committed < shards.planned:
        typer.echo(f"note: {directory} has {shards.committed} of {shards.planned} shards; the others are not exported", err=True)


@export_app.command(
    "hf",
    help="Write parquet files with embedded audio and a dataset card, and upload them if asked. What was broken off goes on.",
    epilog="Example: soundflow export hf corpus/ --to dataset/",
)
def hf(
    directory: Build,
    to: Annotated[str, typer.Option(help="A folder, or hf://OWNER/NAME.", show_default=False)],
    any_licence: AnyLicence = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would be written; write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """`soundflow export hf`."""
    from soundflow.pipeline.export.hf import export_hf
    from soundflow.pipeline.mechanics.console import Console

    _tell_missing(directory)
    with Console("export", "streams") as console:
        done = export_hf(directory, to, any_licence=any_licence, dry_run=dry_run, on_event=console.show)
    if as_json:
        say_json(done.to_json())
        return
    for task, splits in sorted(done.splits.items()):
        say(f"  {task:<24} " + ", ".join(f"{split} {count}" for split, count in sorted(splits.items())))
    for why, count in done.objections.items():
        say(f"  {count} streams may not be published: {why}")
    size = f"{done.bytes / 1e6:.1f} MB"
    say(f"{to}: {done.streams} streams, {done.hours:.2f} h, {size}{' (nothing was written)' if dry_run else ''}")


def _files(kind: str, directory: Path, to: Path, as_json: bool) -> None:
    from soundflow.pipeline.export.files import export_files
    from soundflow.pipeline.mechanics.console import Console

    _tell_missing(directory)
    with Console("export", "streams") as console:
        streams = export_files(kind, directory, to, console.show)
    if as_json:
        say_json({"to": str(to), "streams": streams})
    else:
        say(f"{to}: {streams} streams")


Folder = Annotated[Path, typer.Option(help="A new folder.", show_default=False)]


@export_app.command(
    "moshi",
    help="Stereo WAVs with word times for moshi-finetune.",
    epilog="Example: soundflow export moshi corpus/ --to moshi/",
)
def moshi(directory: Build, to: Folder, as_json: Json = False) -> None:
    """`soundflow export moshi`."""
    _files("moshi", directory, to, as_json)


@export_app.command(
    "authors",
    help="The conversation JSONL of the paper's own release, with the audio of each turn.",
    epilog="Example: soundflow export authors corpus/ --to authors/",
)
def authors(directory: Build, to: Folder, as_json: Json = False) -> None:
    """`soundflow export authors`."""
    _files("authors", directory, to, as_json)


@export_app.command(
    "scaper",
    help="JAMS as scaper writes them, with the clips they name.",
    epilog="Example: soundflow export scaper corpus/ --to scaper/",
)
def scaper(directory: Build, to: Folder, as_json: Json = False) -> None:
    """`soundflow export scaper`."""
    _files("scaper", directory, to, as_json)
