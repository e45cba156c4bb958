"""`submit` and `jobs`: builds on a Ray cluster, from anywhere that reaches its dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from soundflow.cli.common import FAILED, Json, RecipeFile, say, say_json
from soundflow.cli.help import sub_app

top = typer.Typer()
jobs_app = sub_app("Builds on a Ray cluster: how they are, what they say, how to stop and resume them.")
Address = Annotated[
    str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The cluster's dashboard, http://HOST:8265.", show_default=False)
]
Job = Annotated[str, typer.Argument(metavar="JOB", show_default=False)]


@top.command(
    help="Build a recipe on a Ray cluster. The same command resumes. A token goes into $RAY_AUTH_TOKEN.",
    epilog="Example: soundflow submit corpus.yaml -o /shared/corpus --address http://head:8265",
)
def submit(
    recipe: RecipeFile,
    out: Annotated[str, typer.Option("-o", "--out", help="Output directory, as the nodes see it.", show_default=False)],
    address: Address,
    workers: Annotated[int | None, typer.Option(min=1, help="One core each; default: every core.")] = None,
    virtual: Annotated[bool, typer.Option(help="Store plans, tokens and clips, no audio.")] = False,
    store: Annotated[str | None, typer.Option(help="Commit shards to an object store: s3://BUCKET/PATH.")] = None,
    job: Annotated[str | None, typer.Option(help="A name for the job.")] = None,
    as_json: Json = False,
) -> None:
    """`soundflow submit`."""
    from soundflow.pipeline.jobs.submit import Jobs

    options: tuple[str, ...] = ("--workers", str(workers)) if workers else ()
    options += ("--virtual",) if virtual else ()
    options += ("--store", store) if store else ()
    name = Jobs(address).submit(recipe, out, options=options, job=job)
    if as_json:
        say_json({"job": name})
    else:
        say(f"{name}: submitted. soundflow jobs logs {name} --address {address} --follow")


@jobs_app.command(
    "status",
    help="How a job is, or all of them; exit 1 when the job failed.",
    epilog="Example: soundflow jobs status --address http://head:8265",
)
def status(
    address: Address,
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """`soundflow jobs status`."""
    from dataclasses import asdict

    from soundflow.pipeline.jobs.submit import Jobs

    cluster = Jobs(address)
    found = [cluster.status(job)] if job else cluster.list()
    if as_json:
        say_json(asdict(found[0]) if job else [asdict(state) for state in found])
    else:
        for state in found:
            lines = state.message.strip().splitlines()  # a failed job's message ends with its log: a list has one line a job
            say(f"{state.job}  {state.status}  {state.message if job or not lines else lines[-1]}")
    if job and found[0].status == "FAILED":
        raise typer.Exit(FAILED)


@jobs_app.command(
    "logs",
    help="What a job has said.",
    epilog="Example: soundflow jobs logs JOB --address http://head:8265 --follow",
)
def logs(job: Job, address: Address, follow: Annotated[bool, typer.Option(help="Until it ends.")] = False) -> None:
    """`soundflow jobs logs`."""
    import asyncio

    from soundflow.pipeline.jobs.submit import Jobs

    cluster = Jobs(address)
    if not follow:
        say(cluster.logs(job))
        return

    async def tell() -> None:
        async for lines in cluster.follow(job):
            typer.echo(lines, nl=False)

    cluster.status(job)
    asyncio.run(tell())


@jobs_app.command(
    "cancel",
    help="Stop a job. What it committed stays, and `jobs resume` goes on.",
    epilog="Example: soundflow jobs cancel JOB --address http://head:8265",
)
def cancel(job: Job, address: Address, as_json: Json = False) -> None:
    """`soundflow jobs cancel`."""
    from soundflow.pipeline.jobs.submit import Jobs

    stopped = Jobs(address).cancel(job)
    if as_json:
        say_json({"job": job, "stopped": stopped})
    else:
        say(f"{job}: {'is being stopped' if stopped else 'had ended'}")


@jobs_app.command(
    "resume",
    help="Start the build of a job that has ended again, as it was submitted: what is committed stays, the rest is made.",
    epilog="Example: soundflow jobs resume JOB --address http://head:8265",
)
def resume(job: Job, address: Address, as_json: Json = False) -> None:
    """`soundflow jobs resume`."""
    from soundflow.pipeline.jobs.submit import Jobs

    name = Jobs(address).resume(job)
    if as_json:
        say_json({"job": name, "resumes": job})
    else:
        say(f"{name}: resumes {job}. soundflow jobs logs {name} --address {address} --follow")
