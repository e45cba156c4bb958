"""`init`, `build`, `status`, `verify`, `replay`, `report`: a recipe becomes a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from soundflow.cli.common import FAILED, INCOMPLETE, Build, Executor, ExecutorName, Json, RecipeFile, say, say_json

top = typer.Typer()


@top.command(
    help="Write a commented recipe that a clip index can satisfy.",
    epilog="Example: soundflow init corpus.yaml --clips clips/ --streams 1000 --shards 8 --seed 7",
)
def init(
    recipe: RecipeFile,
    clips: Annotated[Path, typer.Option(help="Directory made by `soundflow clips index`.", show_default=False)],
    streams: Annotated[int, typer.Option(min=1)] = 100,
    shards: Annotated[int, typer.Option(min=1)] = 4,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    force: Annotated[bool, typer.Option(help="Overwrite an existing recipe.")] = False,
) -> None:
    """`soundflow init`."""
    from soundflow.pipeline.clips.index import ClipIndex
    from soundflow.pipeline.start.recipe_init import write_recipe

    written = write_recipe(recipe, ClipIndex.open(clips), clips, streams=streams, shards=shards, seed=seed, force=force)
    say(f"{recipe}: {written.streams} streams in {written.shards} shards of {', '.join(task.value for task in written.tasks)}")
    say(f"Next: soundflow build {recipe} -o OUT")


@top.command(
    help="Build a corpus, or resume it: run the same command again.",
    epilog="Example: soundflow build corpus.yaml -o corpus/ --workers 8",
)
def build(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option("-o", "--out", help="Output directory.", show_default=False)],
    workers: Annotated[int | None, typer.Option(min=1, help="Ray actors, one core each; default: every core.")] = None,
    executor: Executor = ExecutorName.RAY,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster: auto, HOST:PORT or ray://HOST:PORT; default: this machine.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Move an older build out of the way first (never deletes).")] = False,
    virtual: Annotated[
        bool, typer.Option(help="Store plans, tokens and clips, no audio: it is rendered when it is read, bit for bit the same.")
    ] = False,
    over_budget: Annotated[bool, typer.Option(help="Build although the bill passes the recipe's budget.")] = False,
    store: Annotated[
        str | None,
        typer.Option(help="Commit shards to an object store, s3://BUCKET/PATH; -o is then each machine's work space."),
    ] = None,
    as_json: Json = False,
) -> None:
    """`soundflow build`."""
    from soundflow.pipeline.build.object_store import ObjectStore
    from soundflow.pipeline.build.run import Progress
    from soundflow.pipeline.build.run import build as run_build
    from soundflow.pipeline.corpus.build_dir import BuildDir
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.schemas.llm import Halted

    halted = ""
    with Console("build", "shards") as console:

        def show(event: Progress) -> None:
            console.show(event.shards_done, event.shards_total, event.describe())

        try:
            status = run_build(
                recipe,
                out,
                workers=workers,
                executor=executor.value,
                address=address,
                fresh=fresh,
                virtual=virtual,
                over_budget=over_budget,
                store=store,
                on_event=show,
            )
        except Halted as error:
            if not BuildDir(out).record_path.exists():  # it was in the vectors of the clip index
                raise
            halted, status = error.message(), ObjectStore(store).status() if store else BuildDir(out).status()
    if halted:
        typer.echo(f"stopped: {halted}", err=True)
    if as_json:
        say_json(status.model_dump(mode="json"))
    else:
        _say_status(out, status)
        _say_failures(out, at_most=3)
    empty = status.shards.committed == status.shards.planned and not status.streams
    if empty:
        typer.echo("error: not one stream could be made; `rejected` in DIR/manifest/*.json says why", err=True)
    if empty or status.shards.committed < status.shards.planned:
        raise typer.Exit(INCOMPLETE)


@top.command(
    help="Render a virtual build into a stored one, byte for byte what `build` would have stored; the same command resumes.",
    epilog="Example: soundflow materialize virtual/ -o corpus/",
)
def materialize(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A virtual build.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Output directory.", show_default=False)],
    as_json: Json = False,
) -> None:
    """`soundflow materialize`."""
    from soundflow.pipeline.build.materialize import materialize as run_materialize
    from soundflow.pipeline.mechanics.console import Console

    with Console("materialize", "streams") as console:
        status = run_materialize(directory, out, console.show)
    if as_json:
        say_json(status.model_dump(mode="json"))
    else:
        _say_status(out, status)


@top.command(
    help="Bring a corpus from an object store into a directory; the same command goes on.",
    epilog="Example: soundflow fetch s3://bucket/corpus -o corpus/",
)
def fetch(
    url: Annotated[str, typer.Argument(metavar="URL", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory.", show_default=False)],
    as_json: Json = False,
) -> None:
    """`soundflow fetch`."""
    from soundflow.pipeline.build import store_beside
    from soundflow.pipeline.build.object_store import ObjectStore
    from soundflow.pipeline.corpus.build_dir import BuildDir

    store_beside.fetch(ObjectStore(url), out)
    found = BuildDir(out).status()
    if as_json:
        say_json(found.model_dump(mode="json"))
    else:
        _say_status(out, found)


@top.command(help="What a build has done so far, from disk alone.", epilog="Example: soundflow status corpus/ --json")
def status(directory: Build, as_json: Json = False) -> None:
    """`soundflow status`."""
    from soundflow.pipeline.corpus.build_dir import BuildDir

    found = BuildDir(directory).status()
    if as_json:
        say_json(found.model_dump(mode="json"))
    else:
        _say_status(directory, found)
        if found.stopped:
            say(f"  stopped: {found.stopped}")
        _say_failures(directory)


@top.command(
    help="Remove what no manifest names: shards of lost races and killed commits. Without --yes only says what it would.",
    epilog="Example: soundflow gc corpus/ --yes",
)
def gc(
    directory: Build,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
    as_json: Json = False,
) -> None:
    """`soundflow gc`."""
    from dataclasses import asdict

    from soundflow.pipeline.corpus.gc import collect_garbage

    found = collect_garbage(directory, remove=yes)
    if as_json:
        say_json(asdict(found))
        return
    for name in found.files:
        say(f"  {name}")
    young = f"; {found.young} younger than an hour left alone" if found.young else ""
    say(f"{directory}: {len(found.files)} files, {found.bytes / 1e6:.1f} MB {'removed' if yes else 'to remove (--yes)'}{young}")


@top.command(
    help="Compare two corpora by their plans, stream by stream; exit 1 when they differ.",
    epilog="Example: soundflow diff corpus/ corpus.old-1/",
)
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", show_default=False)],
    as_json: Json = False,
) -> None:
    """`soundflow diff`."""
    from soundflow.pipeline.corpus.diff import diff as run_diff

    found = run_diff(a, b)
    if as_json:
        say_json(found.to_json())
    else:
        for line in found.lines():
            say(line)
    if not found.equal:
        raise typer.Exit(FAILED)


def _say_failures(directory: Path, at_most: int | None = None) -> None:
    from soundflow.pipeline.corpus.build_dir import BuildDir

    failures = BuildDir(directory).failures()
    for failure in failures[:at_most]:
        say(f"  shard {failure.shard} failed: {failure.error}")
    if at_most is not None and len(failures) > at_most:
        say(f"  and {len(failures) - at_most} more: soundflow status {directory}")


def _say_status(directory: Path, found: Any) -> None:
    shards = found.shards
    say(
        f"{directory}: {shards.committed}/{shards.planned} shards ({shards.failed} failed), {found.streams} streams,"
        f" {found.hours:.2f} h, {found.rejected} rejected, {found.quarantined} quarantined; fingerprint {found.fingerprint[:12]}"
    )


@top.command(
    help="Check everything a build committed; exit 1 when something is wrong.",
    epilog="Example: soundflow verify corpus/ --sample 3",
)
def verify(
    directory: Build,
    sample: Annotated[int, typer.Option(min=0, help="Also plan and render N samples again and compare bytes.")] = 0,
    as_json: Json = False,
) -> None:
    """`soundflow verify`."""
    from soundflow.pipeline.check.verify import verify as run_verify

    report = run_verify(directory, sample=sample)
    if as_json:
        say_json(report.model_dump(mode="json"))
    else:
        for problem in report.problems:
            where = f"shard {problem.shard}" if problem.shard >= 0 else "build"
            say(f"{where} {problem.key or '-'}: {problem.check}: {problem.detail}")
        say(f"{directory}: {report.shards} shards, {report.streams} streams, {len(report.problems)} problems")
    if not report.ok:
        raise typer.Exit(FAILED)


@top.command(
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
    from soundflow.pipeline.check.replay import replay as run_replay

    result = run_replay(directory, sample_id, out)
    if as_json:
        say_json(result.to_json())
    else:
        for line in result.lines():
            say(line)
    if not result.ok:
        raise typer.Exit(FAILED)


@top.command(
    help="Write one self-contained HTML page about a build, or about a training run.",
    epilog="Example: soundflow report corpus/ -o corpus.html",
)
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A build, or a training run.", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Default: DIR/report.html.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=64, help="Streams of a build to hear and see.")] = 8,
    as_json: Json = False,
) -> None:
    """`soundflow report`."""
    if (directory / "run.json").is_file():
        from soundflow.training.report import write_report as write_run_report

        path = write_run_report(directory, out)
    else:
        from soundflow.pipeline.report.page import write_report

        path = write_report(directory, out, samples=samples)
    if as_json:
        say_json({"report": str(path)})
    else:
        say(str(path))
