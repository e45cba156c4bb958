"""The commands that turn a recipe into a corpus: `init`, `build`, `status`, `verify`, `replay`, `report` and others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from soundflow.cli.common import (
    FAILED,
    INCOMPLETE,
    Build,
    Executor,
    ExecutorName,
    Json,
    RayAddress,
    RecipeFile,
    Seed,
    command_line,
    say,
    say_json,
)

top = typer.Typer()


@top.command(
    help="Write a commented recipe with the tasks that a clip index can serve.",
    epilog="Example: soundflow init corpus.yaml --clips clips/ --streams 1000 --shards 8 --seed 7",
)
def init(
    recipe: RecipeFile,
    clips: Annotated[
        Path, typer.Option(help="Directory of the clip index, made by `soundflow clips index`.", show_default=False)
    ],
    streams: Annotated[int, typer.Option(min=1, help="Number of streams of the corpus.")] = 100,
    shards: Annotated[int, typer.Option(min=1, help="Number of shards, one tar file each.")] = 4,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option(help="Overwrite an existing recipe file.")] = False,
) -> None:
    """Run `soundflow init`."""
    from soundflow.pipeline.clips.index import ClipIndex
    from soundflow.pipeline.start.index_notes import index_notes
    from soundflow.pipeline.start.recipe_init import write_recipe

    index = ClipIndex.open(clips)
    written = write_recipe(recipe, index, clips, streams=streams, shards=shards, seed=seed, force=force)
    for note in index_notes(index.briefs(), written, clips):
        typer.echo(f"note: {note}", err=True)
    say(f"{recipe}: {written.streams} streams in {written.shards} shards of {', '.join(task.value for task in written.tasks)}")
    say(f"Next: {command_line('build', recipe, '-o', 'OUT')}")


@top.command(
    help="Build the corpus of a recipe. Run the same command again to resume. Exit code 3: shards failed "
    "or are missing, or a budget or service ended the build.",
    epilog="Example: soundflow build corpus.yaml -o corpus/ --workers 8",
)
def build(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="Recipe file (YAML), or the build.json of an existing build.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the build.", show_default=False)],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of Ray actors, one core each (default: one per core of the cluster).")
    ] = None,
    executor: Executor = ExecutorName.RAY,
    address: RayAddress = None,
    fresh: Annotated[bool, typer.Option(help="Rename an existing build directory and start a new build.")] = False,
    virtual: Annotated[
        bool, typer.Option(help="Store plans, tokens and clips but no audio. Readers render the same audio bit for bit.")
    ] = False,
    recheck: Annotated[
        bool, typer.Option(help="Verify the committed shards first, move damaged files to OUT/damaged, and make them again.")
    ] = False,
    over_budget: Annotated[bool, typer.Option(help="Build even if the estimate exceeds the recipe's budget.")] = False,
    store: Annotated[
        str | None,
        typer.Option(help="Commit shards to an object store, s3://BUCKET/PATH. The output directory is then local work space."),
    ] = None,
    shard_timeout: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            metavar="SECONDS",
            help="Stop a worker that has not finished its shard after this time, and give the shard to another worker "
            "(default: 5 times the slowest shard so far, at least 300 s; 3600 s until the first shard is done).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow build`."""
    from soundflow.pipeline.build.object_store import ObjectStore
    from soundflow.pipeline.build.run import Progress
    from soundflow.pipeline.build.run import build as run_build
    from soundflow.pipeline.corpus.build_dir import BuildDir
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.schemas.llm import Halted, ServiceUnreachable

    if recheck:
        _recheck(recipe, out, virtual, fresh, store)
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
                shard_timeout=shard_timeout,
                on_event=show,
                on_warning=console.warn,
            )
        except Halted as error:
            is_start = isinstance(error, ServiceUnreachable) and not error.has_begun
            if is_start or not BuildDir(out).record_path.exists():  # the latter while embedding the clip index
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
        typer.echo(f"error: no stream could be made; the field `rejected` in {out}/manifest/*.json counts the reasons", err=True)
    if empty or status.shards.committed < status.shards.planned:
        raise typer.Exit(INCOMPLETE)


def _recheck(recipe: Path, out: Path, virtual: bool, fresh: bool, store: str | None) -> None:
    from soundflow.pipeline.check.recheck import recheck
    from soundflow.schemas.base import InputError

    if fresh or store is not None:
        remedy = "Leave out --fresh. To check an object store, fetch it with `soundflow fetch` and check the copy"
        raise InputError("takes neither --fresh nor --store", field="--recheck", remedy=remedy)
    moved = recheck(recipe, out, virtual=virtual)
    for name in moved:
        typer.echo(f"moved {out / name} to {out / 'damaged'}", err=True)


@top.command(
    help="Render a virtual build into a stored one with the same bytes as a stored build. Run the same command again to resume.",
    epilog="Example: soundflow materialize virtual/ -o corpus/",
)
def materialize(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a virtual build.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the stored build.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Run `soundflow materialize`."""
    from soundflow.pipeline.build.materialize import materialize as run_materialize
    from soundflow.pipeline.mechanics.console import Console

    with Console("materialize", "streams") as console:
        status = run_materialize(directory, out, console.show)
    if as_json:
        say_json(status.model_dump(mode="json"))
    else:
        _say_status(out, status)


@top.command(
    help="Download a corpus from an object store into a directory. Run the same command again to resume.",
    epilog="Example: soundflow fetch s3://bucket/corpus -o corpus/",
)
def fetch(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the corpus, s3://BUCKET/PATH.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the downloaded corpus.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Run `soundflow fetch`."""
    from soundflow.pipeline.build.object_store import ObjectStore
    from soundflow.pipeline.build.store_download import download_corpus
    from soundflow.pipeline.corpus.build_dir import BuildDir

    download_corpus(ObjectStore(url), out)
    found = BuildDir(out).status()
    if as_json:
        say_json(found.model_dump(mode="json"))
    else:
        _say_status(out, found)


@top.command(
    help="Show the progress of a build, read from its directory alone.", epilog="Example: soundflow status corpus/ --json"
)
def status(directory: Build, as_json: Json = False) -> None:
    """Run `soundflow status`."""
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
    help="List files that no manifest names, such as shards of killed commits, and remove them with --yes.",
    epilog="Example: soundflow gc corpus/ --yes",
)
def gc(
    directory: Build,
    yes: Annotated[bool, typer.Option("--yes", help="Remove the listed files.")] = False,
    as_json: Json = False,
) -> None:
    """Run `soundflow gc`."""
    from dataclasses import asdict

    from soundflow.pipeline.corpus.gc import collect_garbage

    found = collect_garbage(directory, remove=yes)
    if as_json:
        say_json(asdict(found))
        return
    for name in found.files:
        say(f"  {name}")
    young = f"; {found.young} files younger than an hour were kept" if found.young else ""
    outcome = "removed" if yes else "can be removed with --yes"
    say(f"{directory}: {len(found.files)} files, {found.bytes / 1e6:.1f} MB {outcome}{young}")


@top.command(
    help="Compare the plans of two corpora stream by stream. Exit code 1: the corpora differ.",
    epilog="Example: soundflow diff corpus/ corpus.old-1/",
)
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="Directory of the first build.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Directory of the second build.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Run `soundflow diff`."""
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
        say(f"  {len(failures) - at_most} more failed; list all: {command_line('status', directory)}")
    if at_most is not None and failures:
        say("  Run the same command again to retry failed shards")


def _say_status(directory: Path, found: Any) -> None:
    shards = found.shards
    say(
        f"{directory}: {shards.committed}/{shards.planned} shards ({shards.failed} failed), {found.streams} streams,"
        f" {found.hours:.2f} h, {found.rejected} rejected, {found.quarantined} quarantined; fingerprint {found.fingerprint[:12]}"
    )


@top.command(
    help="Check everything that a build committed. Exit code 1: there are problems; 3: shards are missing, and nothing else.",
    epilog="Example: soundflow verify corpus/ --sample 3",
)
def verify(
    directory: Build,
    sample: Annotated[int, typer.Option(min=0, help="Number of streams to plan and render again and compare byte for byte.")] = 0,
    as_json: Json = False,
) -> None:
    """Run `soundflow verify`."""
    from soundflow.pipeline.check.verify import verify as run_verify

    report = run_verify(directory, sample=sample)
    if as_json:
        say_json(report.model_dump(mode="json"))
    else:
        for problem in report.problems:
            where = f"shard {problem.shard}" if problem.shard >= 0 else "build"
            file = f"{problem.file}: " if problem.file and problem.file not in problem.detail else ""
            remedy = f". {problem.remedy}" if problem.remedy and problem.remedy not in problem.detail else ""
            detail = problem.detail.removesuffix(".") if remedy else problem.detail
            say(f"{where} {problem.key or '-'}: {problem.check}: {file}{detail}{remedy}")
        say(f"{directory}: {report.shards} shards, {report.streams} streams, {len(report.problems)} problems")
    if not report.ok:
        raise typer.Exit(INCOMPLETE if all(problem.check == "missing" for problem in report.problems) else FAILED)


@top.command(
    help="Render one stream of a build again, committed or quarantined, and explain how it was drawn.",
    epilog="Example: soundflow replay sf-0123456789ab-000000-00003 corpus/ -o replayed/",
)
def replay(
    sample_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the stream, such as sf-0123456789ab-000000-00003.", show_default=False)
    ],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory of the build (default: the current directory).", show_default=False)
    ] = Path(),
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory for the audio, plan and tokens of the stream.")] = Path(
        "replayed"
    ),
    as_json: Json = False,
) -> None:
    """Run `soundflow replay`."""
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
    help="Write one self-contained HTML page about a build or a training run.",
    epilog="Example: soundflow report corpus/ -o corpus.html",
)
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a build or a training run.", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="HTML file to write (default: DIR/report.html).")] = None,
    samples: Annotated[int, typer.Option(min=1, max=64, help="Number of streams of a build to show with audio and plots.")] = 8,
    as_json: Json = False,
) -> None:
    """Run `soundflow report`."""
    if (directory / "run.json").is_file() and not (directory / "build.json").exists():
        from soundflow.training.report import write_report as write_run_report

        path = write_run_report(directory, out)
    else:
        from soundflow.pipeline.report.page import write_report

        path = write_report(directory, out, samples=samples)
    if as_json:
        say_json({"report": str(path)})
    else:
        say(str(path))
