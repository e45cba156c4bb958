"""`soundflow export …`: a build in the formats of other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import Build, Json, say, say_json
from soundflow.cli.help import sub_app
from soundflow.schemas.text import counted

export_app = sub_app("Export a corpus as a Hugging Face dataset or in the formats of other systems.")
AnyLicence = Annotated[
    bool, typer.Option(help="Include streams whose licences are not known to permit publication, or exclude each other.")
]


def _warn_missing(directory: Path) -> None:
    """Print a note on stderr when shards of the build are missing."""
    from soundflow.pipeline.corpus.build_dir import BuildDir

    shards = BuildDir(directory).status().shards
    if shards.committed < shards.planned:
        typer.echo(f"note: {directory} has {shards.committed} of {shards.planned} shards; the export lacks the others", err=True)


@export_app.command(
    "hf",
    help="Write Parquet files with embedded audio and a dataset card, and upload them to the hub for an hf:// target. "
    "Run the same command again to resume.",
    epilog="Example: soundflow export hf corpus/ --to dataset/",
)
def hf(
    directory: Build,
    to: Annotated[str, typer.Option(help="Target folder or hub repository hf://OWNER/NAME.", show_default=False)],
    any_licence: AnyLicence = False,
    dry_run: Annotated[bool, typer.Option(help="Report what would be written without writing it.")] = False,
    as_json: Json = False,
) -> None:
    """Run `soundflow export hf`."""
    from soundflow.pipeline.export.hf import export_hf
    from soundflow.pipeline.mechanics.console import Console

    _warn_missing(directory)
    with Console("export", "streams") as console:
        done = export_hf(directory, to, any_licence=any_licence, dry_run=dry_run, on_event=console.show)
    if as_json:
        say_json(done.to_json())
        return
    for task, splits in sorted(done.splits.items()):
        say(f"  {task:<24} " + ", ".join(f"{split} {count}" for split, count in sorted(splits.items())))
    for why, count in done.objections.items():
        say(f"  {counted(count, 'stream')} ({counted(done.objected_clips[why], 'clip')}) may not be published: {why}")
    size = f"{done.bytes / 1e6:.1f} MB"
    say(f"{to}: {done.streams} streams, {done.hours:.2f} h, {size}{' (dry run, nothing written)' if dry_run else ''}")


def _files(kind: str, directory: Path, to: Path, as_json: bool) -> None:
    from soundflow.pipeline.export.files import export_files
    from soundflow.pipeline.export.licences import LicenceSurvey
    from soundflow.pipeline.mechanics.console import Console

    _warn_missing(directory)
    survey = LicenceSurvey()
    with Console("export", "streams") as console:
        streams = export_files(kind, directory, to, console.show, survey=survey)
    for why in survey.describe():
        typer.echo(f"note: may not be published: {why}", err=True)
    if as_json:
        say_json({"to": str(to), "streams": streams})
    else:
        say(f"{to}: {streams} streams")


Folder = Annotated[Path, typer.Option(help="Target folder. It must not exist.", show_default=False)]


@export_app.command(
    "moshi",
    help="Write stereo WAV files with word times for moshi-finetune.",
    epilog="Example: soundflow export moshi corpus/ --to moshi/",
)
def moshi(directory: Build, to: Folder, as_json: Json = False) -> None:
    """Run `soundflow export moshi`."""
    _files("moshi", directory, to, as_json)


@export_app.command(
    "authors",
    help="Write the conversation JSONL of the paper's own release with the audio of each turn.",
    epilog="Example: soundflow export authors corpus/ --to authors/",
)
def authors(directory: Build, to: Folder, as_json: Json = False) -> None:
    """Run `soundflow export authors`."""
    _files("authors", directory, to, as_json)


@export_app.command(
    "scaper",
    help="Write JAMS files as scaper does, with the clips that they refer to.",
    epilog="Example: soundflow export scaper corpus/ --to scaper/",
)
def scaper(directory: Build, to: Folder, as_json: Json = False) -> None:
    """Run `soundflow export scaper`."""
    _files("scaper", directory, to, as_json)
