"""`soundflow submit` and `soundflow jobs …`: builds on a Ray cluster whose dashboard is reachable."""

from __future__ import annotations

from typing import Annotated

import typer

from soundflow.cli.common import FAILED, Json, RecipeFile, command_line, say, say_json
from soundflow.cli.help import sub_app

top = typer.Typer()
jobs_app = sub_app("Show, follow, stop and resume builds on a Ray cluster.")
Address = Annotated[
    str,
    typer.Option(
        envvar="RAY_API_SERVER_ADDRESS", help="Address of the cluster's dashboard, such as http://HOST:8265.", show_default=False
    ),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="Name of the job.", show_default=False)]


def _follow(job: str, address: str) -> str:
    from soundflow.pipeline.jobs.submit import without_password

    return command_line("jobs", "logs", job, "--address", without_password(address), "--follow")


@top.command(
    help="Submit the build of a recipe to a Ray cluster. Run the same command again to resume. "
    "$RAY_AUTH_TOKEN holds the token of a protected cluster.",
    epilog="Example: soundflow submit corpus.yaml -o /shared/corpus --address http://head:8265",
)
def submit(
    recipe: RecipeFile,
    out: Annotated[str, typer.Option("-o", "--out", help="Directory of the build as the nodes see it.", show_default=False)],
    address: Address,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of Ray actors, one core each (default: one per core of the cluster).")
    ] = None,
    virtual: Annotated[bool, typer.Option(help="Store plans, tokens and clips but no audio.")] = False,
    store: Annotated[str | None, typer.Option(help="Commit shards to an object store, s3://BUCKET/PATH.")] = None,
    job: Annotated[str | None, typer.Option(help="Name of the job (default: a name chosen by Ray).")] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow submit`."""
    from soundflow.pipeline.jobs.submit import Jobs
    from soundflow.schemas.base import InputError

    if store is not None and not all(store.partition("://")):
        remedy = "Name a bucket, such as s3://BUCKET/PATH"
        raise InputError("is not the URL of an object store", field="--store", value=store, remedy=remedy)
    options: tuple[str, ...] = ("--workers", str(workers)) if workers else ()
    options += ("--virtual",) if virtual else ()
    options += ("--store", store) if store else ()
    cluster = Jobs(address)
    name = cluster.submit(recipe, out, options=options, job=job)
    if as_json:
        say_json({"job": name})
    else:
        say(f"{name}: submitted. Follow it: {_follow(name, cluster.address)}")


@jobs_app.command(
    "status",
    help="Show the status of one job or of all jobs. Exit code 1: the job failed.",
    epilog="Example: soundflow jobs status --address http://head:8265",
)
def status(
    address: Address,
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="Name of the job (default: all jobs).", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow jobs status`."""
    from dataclasses import asdict

    from soundflow.pipeline.jobs.submit import Jobs

    cluster = Jobs(address)
    found = [cluster.status(job)] if job else cluster.list()
    if as_json:
        say_json(asdict(found[0]) if job else [asdict(state) for state in found])
    else:
        for state in found:
            lines = (
                state.message.strip().splitlines()
            )  # the message of a failed job ends with its log; the list has one line per job
            say(f"{state.job}  {state.status}  {state.message if job or not lines else lines[-1]}")
    if job and found[0].status == "FAILED":
        raise typer.Exit(FAILED)


@jobs_app.command(
    "logs",
    help="Print the log of a job.",
    epilog="Example: soundflow jobs logs JOB --address http://head:8265 --follow",
)
def logs(
    job: Job, address: Address, follow: Annotated[bool, typer.Option(help="Follow the log until the job ends.")] = False
) -> None:
    """Run `soundflow jobs logs`."""
    import asyncio

    from soundflow.pipeline.jobs.submit import Jobs

    cluster = Jobs(address)
    if not follow:
        say(cluster.logs(job))
        return

    async def print_log() -> None:
        async for lines in cluster.follow(job):
            typer.echo(lines, nl=False)

    cluster.status(job)
    asyncio.run(print_log())


@jobs_app.command(
    "cancel",
    help="Stop a job. Committed shards are kept, and `jobs resume` continues the build.",
    epilog="Example: soundflow jobs cancel JOB --address http://head:8265",
)
def cancel(job: Job, address: Address, as_json: Json = False) -> None:
    """Run `soundflow jobs cancel`."""
    from soundflow.pipeline.jobs.submit import Jobs

    stopped = Jobs(address).cancel(job)
    if as_json:
        say_json({"job": job, "stopped": stopped})
    else:
        say(f"{job}: {'stopping' if stopped else 'had already ended'}")


@jobs_app.command(
    "resume",
    help="Submit the build of an ended job again with its original options. Committed shards are kept.",
    epilog="Example: soundflow jobs resume JOB --address http://head:8265",
)
def resume(job: Job, address: Address, as_json: Json = False) -> None:
    """Run `soundflow jobs resume`."""
    from soundflow.pipeline.jobs.submit import Jobs

    cluster = Jobs(address)
    name = cluster.resume(job)
    if as_json:
        say_json({"job": name, "resumes": job})
    else:
        say(f"{name}: resumes {job}. Follow it: {_follow(name, cluster.address)}")
