"""`soundflow sources …`: the 26 public corpora that StreamAudio-2M is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import FAILED, Json, command_line, say, say_json
from soundflow.cli.help import sub_app

sources_app = sub_app("Import the 26 public corpora of StreamAudio-2M (paper, appendix D) in their published layout.")
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the corpus, one of `soundflow sources list`.", show_default=False)
]
Where = Annotated[str, typer.Argument(metavar="PATH", help="Folder or URL of the unpacked corpus.", show_default=False)]


@sources_app.command(
    "list", help="List every corpus with its size, licence and home page.", epilog="Example: soundflow sources list"
)
def sources_list(as_json: Json = False) -> None:
    """Run `soundflow sources list`."""
    from soundflow.schemas.sources import SOURCES

    if as_json:
        say_json([source.model_dump(mode="json") for source in SOURCES.values()])
        return
    for source in SOURCES.values():
        hours = f"{source.hours:,.0f} h" if source.hours else ""
        say(f"{source.name:20} {source.items:>8,} {hours:>8}  {source.gives.value:9}  {source.licence:14} {source.home}")


@sources_app.command(
    "check",
    help="Check that the files of a corpus are complete and read its first rows. Exit code 1: it cannot be imported.",
    epilog="Example: soundflow sources check librispeech /data/LibriSpeech",
)
def sources_check(
    name: Name,
    where: Where,
    rows: Annotated[int, typer.Option(min=1, help="Number of rows to read.")] = 100,
    as_json: Json = False,
) -> None:
    """Run `soundflow sources check`."""
    from soundflow.pipeline.speech.source_check import check_source

    found = check_source(name, where, rows)
    if as_json:
        say_json(found.model_dump(mode="json") | {"ok": found.ok})
    else:
        for files in found.files:
            say(f"{'found  ' if files.example else 'MISSING'} {files.example or ' or '.join(files.patterns)} ({files.about})")
        rejected = ", ".join(f"{count} {reason}" for reason, count in found.rejected.items()) or "none"
        say(f"{found.accepted} of the first {found.rows} rows are usable; rejected: {rejected}")
        for line in (*found.examples, *found.problems):
            say(line)
        say(f"{found.title}: {'ok' if found.ok else 'cannot be imported'}; licence: {found.licence}")
    if not found.ok:
        raise typer.Exit(FAILED)


@sources_app.command(
    "import",
    help="Convert a corpus into a clip manifest (for `clips index`) or into dialogues (for `speak`). "
    "Run the same command again to resume.",
    epilog="Example: soundflow sources import librispeech /data/LibriSpeech -o librispeech/",
)
def sources_import(
    name: Name,
    where: Where,
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the manifest or the dialogues.", show_default=False)],
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of rows to convert.")] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow sources import`."""
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.speech.source_import import OUTPUTS, find_source, import_source
    from soundflow.schemas.sources import Gives

    with Console(name, "parts") as console:
        state = import_source(name, where, out, limit=limit, on_progress=console.show)
    if as_json:
        say_json(state.model_dump(mode="json"))
        return
    gives = find_source(name).gives
    target = out / OUTPUTS[gives]
    say(f"{state.accepted} rows in {target}, {state.rejected} rejected (listed in {out / 'rejected.jsonl'})")
    after = (
        command_line("clips", "index", target, "--root", where, "-o", "clips/")
        if gives is Gives.CLIPS
        else command_line("speak", target, "--out", out / "spoken")
    )
    say(f"Next: {after}")
