"""The front door: a thin typer app. Each command imports its room only when it is called.

Exit codes: 0 done, 1 verify found problems, 2 bad usage or input, 3 finished with failed or missing shards (run the
same command again to resume), 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.stopping import interrupt, signals_handled_by
from schemas.base import InputError, Interrupted

FAILED, USAGE, INCOMPLETE, INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    name="soundflow",
    help="Build, explain and verify corpora of always-on audio streams (a decision every 400 ms).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
clips_app = typer.Typer(
    help="The clip index: cleaned recordings a corpus is made of.", no_args_is_help=True, rich_markup_mode=None
)
assets_app = typer.Typer(
    help="Files that are not in the repository: real recordings, vocabularies.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(clips_app, name="clips")
app.add_typer(assets_app, name="assets")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


class ExecutorName(StrEnum):
    """Where shards are made."""

    INLINE = "inline"
    RAY = "ray"


def say(text: str) -> None:
    """A line for people, on stdout."""
    typer.echo(text)


def say_json(document: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, ensure_ascii=False, sort_keys=True))


@clips_app.command(
    "index",
    help="Index folders or manifests of recordings: check, clean (TFJP) and cache each once.",
    epilog="Example: soundflow clips index recordings/ speech.csv -o clips/",
)
def clips_index(
    sources: Annotated[
        list[Path], typer.Argument(help="Folders, audio files, or manifests (.csv, .jsonl, .parquet).", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the index.", show_default=False)],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="Longer files are rejected as too_long.")] = 600.0,
    root: Annotated[list[Path] | None, typer.Option(help="A folder outside a manifest's own that its paths may name.")] = None,
    as_json: Json = False,
) -> None:
    """`soundflow clips index`."""
    from pipeline.clip_index import index_clips
    from pipeline.console import Console
    from schemas.clip import IngressConfig, TfjpConfig

    with Console("clips", "files") as console:

        def show(done: int, total: int, rejected: int, seconds: float) -> None:
            console.show(done, total, f"{seconds / 3600:.2f} h of clips, {rejected} rejected")

        summary = index_clips(
            sources,
            out,
            roots=root or (),
            tfjp=TfjpConfig(),
            ingress=IngressConfig(max_seconds=max_seconds),
            workers=workers,
            on_progress=show,
        )
    if as_json:
        say_json(summary.to_json())
    else:
        say(summary.describe())


@app.command(
    help="Clean one recording with TFJP (paper, Algorithm 1) and say what each operator did.",
    epilog="Example: soundflow tfjp dog.wav clean.wav --trace --plot clean.png",
)
def tfjp(
    source: Annotated[Path, typer.Argument(metavar="IN", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False)],
    trace: Annotated[bool, typer.Option(help="Print every step.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a before/after picture (.png, .pdf, .svg).")] = None,
    keep_noise: Annotated[bool, typer.Option(help="Do not denoise (what the ambient role gets).")] = False,
    as_json: Json = False,
) -> None:
    """`soundflow tfjp`."""
    from pipeline.clean_file import clean_file

    cleaned = clean_file(source, out, denoise=not keep_noise, plot=plot)
    if as_json:
        say_json(cleaned.to_json() | ({"trace": cleaned.trace_json()} if trace else {}))
        return
    say(cleaned.describe())
    for line in cleaned.trace_lines() if trace else ():
        say(line)


@app.command(
    help="Write a commented recipe that a clip index can satisfy.",
    epilog="Example: soundflow init corpus.yaml --clips clips/ --streams 1000 --shards 8 --seed 7",
)
def init(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", show_default=False)],
    clips: Annotated[Path, typer.Option(help="Directory made by `soundflow clips index`.", show_default=False)],
    streams: Annotated[int, typer.Option(min=1)] = 100,
    shards: Annotated[int, typer.Option(min=1)] = 4,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    force: Annotated[bool, typer.Option(help="Overwrite an existing recipe.")] = False,
) -> None:
    """`soundflow init`."""
    from pipeline.clip_index import ClipIndex
    from pipeline.recipe_init import write_recipe

    written = write_recipe(recipe, ClipIndex.open(clips), clips, streams=streams, shards=shards, seed=seed, force=force)
    say(f"{recipe}: {written.streams} streams in {written.shards} shards of {', '.join(task.value for task in written.tasks)}")
    say(f"Next: soundflow build {recipe} -o OUT")


@app.command(
    help="Build a corpus, or resume it: run the same command again.",
    epilog="Example: soundflow build corpus.yaml -o corpus/ --workers 8",
)
def build(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Output directory.", show_default=False)],
    workers: Annotated[int | None, typer.Option(min=1, help="Ray actors, one core each; default: every core.")] = None,
    executor: Annotated[ExecutorName, typer.Option(help="inline needs no Ray and uses one core.")] = ExecutorName.RAY,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster: auto, HOST:PORT or ray://HOST:PORT; default: this machine.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Move an older build out of the way first (never deletes).")] = False,
    as_json: Json = False,
) -> None:
    """`soundflow build`."""
    from pipeline.console import Console
    from pipeline.run import Progress
    from pipeline.run import build as run_build

    with Console("build", "shards") as console:

        def show(event: Progress) -> None:
            console.show(event.shards_done, event.shards_total, event.describe())

        status = run_build(recipe, out, workers=workers, executor=executor.value, address=address, fresh=fresh, on_event=show)
    if as_json:
        say_json(status.model_dump(mode="json"))
    else:
        _say_status(out, status)
    if status.shards.committed < status.shards.planned:
        raise typer.Exit(INCOMPLETE)


@app.command(help="What a build has done so far, from disk alone.", epilog="Example: soundflow status corpus/ --json")
def status(directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)], as_json: Json = False) -> None:
    """`soundflow status`."""
    from pipeline.build_dir import BuildDir

    found = BuildDir(directory).status()
    if as_json:
        say_json(found.model_dump(mode="json"))
    else:
        _say_status(directory, found)
        for failure in BuildDir(directory).failures():
            say(f"  shard {failure.shard} failed: {failure.error}")


def _say_status(directory: Path, found: Any) -> None:
    shards = found.shards
    say(
        f"{directory}: {shards.committed}/{shards.planned} shards ({shards.failed} failed), {found.streams} streams,"
        f" {found.hours:.2f} h, {found.rejected} rejected, {found.quarantined} quarantined; fingerprint {found.fingerprint[:12]}"
    )


@app.command(
    help="Check everything a build committed; exit 1 when something is wrong.",
    epilog="Example: soundflow verify corpus/ --sample 3",
)
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    sample: Annotated[int, typer.Option(min=0, help="Also plan and render N samples again and compare bytes.")] = 0,
    as_json: Json = False,
) -> None:
    """`soundflow verify`."""
    from pipeline.verify import verify as run_verify

    report = run_verify(directory, sample=sample)
    if as_json:
        say_json(report.model_dump(mode="json"))
    else:
        for problem in report.problems:
            say(f"shard {problem.shard} {problem.key or '-'}: {problem.check}: {problem.detail}")
        say(f"{directory}: {report.shards} shards, {report.streams} streams, {len(report.problems)} problems")
    if not report.ok:
        raise typer.Exit(FAILED)


@app.command(
    help="Make one sample again, also from the quarantine, and explain it.",
    epilog="Example: soundflow replay sf-0123456789ab-000000-00003 corpus/ -o replayed/",
)
def replay(
    sample_id: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the build.")] = Path(),
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write its files.")] = Path("replayed"),
    as_json: Json = False,
) -> None:
    """`soundflow replay`."""
    from pipeline.replay import replay as run_replay

    result = run_replay(directory, sample_id, out)
    if as_json:
        say_json(result.to_json())
    else:
        for line in result.lines():
            say(line)
    if not result.ok:
        raise typer.Exit(FAILED)


@app.command(help="Write one self-contained HTML page about a build.", epilog="Example: soundflow report corpus/ -o corpus.html")
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Default: DIR/report.html.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=64, help="Streams to hear and see.")] = 8,
    as_json: Json = False,
) -> None:
    """`soundflow report`."""
    from pipeline.report import write_report

    path = write_report(directory, out, samples=samples)
    if as_json:
        say_json({"report": str(path)})
    else:
        say(str(path))


@assets_app.command(
    "list", help="Every asset: role, licence, size, sources, whether it is here.", epilog="Example: soundflow assets list --json"
)
def assets_list(as_json: Json = False) -> None:
    """`soundflow assets list`."""
    from pipeline import assets

    rows = assets.listing()
    if as_json:
        say_json([row.to_json() for row in rows])
    else:
        for row in rows:
            say(row.describe())


@assets_app.command(
    "fetch",
    help="Fetch assets; whatever source answers, the hash decides.",
    epilog="Example: soundflow assets fetch scratch sonic-pi-samples",
)
def assets_fetch(names: Annotated[list[str] | None, typer.Argument(help="Default: all.", show_default=False)] = None) -> None:
    """`soundflow assets fetch`."""
    from pipeline import assets

    for row in assets.fetch(names or None, on_progress=say):
        say(row.describe())


@assets_app.command("verify", help="Hash every asset that is here again.", epilog="Example: soundflow assets verify --json")
def assets_verify(as_json: Json = False) -> None:
    """`soundflow assets verify`."""
    from pipeline import assets

    rows = assets.verify()
    if as_json:
        say_json([row.to_json() for row in rows])
    else:
        for row in rows:
            say(row.describe())
    if any(row.state == "damaged" for row in rows):
        raise typer.Exit(FAILED)


def main(arguments: list[str] | None = None) -> None:
    """Run the app; user mistakes and full disks become one sentence, signals exit code 130."""
    try:
        with signals_handled_by(interrupt):
            app(args=arguments)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    except OSError as error:
        typer.echo(f"error: {error}. What was committed is intact; the same command resumes", err=True)
        sys.exit(INCOMPLETE)
    except Interrupted:
        typer.echo("interrupted: nothing half-written counts; the same command resumes", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
