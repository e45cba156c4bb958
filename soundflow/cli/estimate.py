"""`soundflow estimate`: what a recipe will cost before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundflow.cli.common import FAILED, Json, RecipeFile, say, say_json

if TYPE_CHECKING:
    from soundflow.schemas.estimate import Estimate

top = typer.Typer()


@top.command(
    "estimate",
    help="Estimate what building a recipe takes: streams, hours, bytes, calls, core and GPU hours, money and time. "
    "No audio is made. Exit code 1: the estimate exceeds the recipe's budget.",
    epilog="Example: soundflow estimate corpus.yaml --nodes 8 --cores 64 --calibrate --rates rates.yaml",
)
@top.command("plan", help="Run `soundflow estimate` under its former name.", hidden=True)
def estimate(
    recipe: RecipeFile,
    nodes: Annotated[int, typer.Option(min=1, help="Number of machines.")] = 1,
    cores: Annotated[int | None, typer.Option(min=1, help="CPU cores per machine (default: the cores of this machine).")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="Total number of GPUs of all machines.")] = 0,
    calibrate: Annotated[
        bool, typer.Option(help="Build a few streams to measure the rates. This calls the recipe's models.")
    ] = False,
    rates: Annotated[
        Path | None,
        typer.Option(help="YAML file of rates. It is read, or with --calibrate written.", show_default=False),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Use this clip index instead of the recipe's, for example before one exists."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow estimate`."""

    from soundflow.pipeline.build.calibrate import calibrate as measure
    from soundflow.pipeline.estimate.estimate import Machines
    from soundflow.pipeline.estimate.estimate import estimate as estimate_recipe
    from soundflow.schemas.atomic_file import write_atomic
    from soundflow.schemas.documents import to_yaml
    from soundflow.schemas.estimate import Rates

    measured = Rates.from_yaml(rates) if rates is not None and not calibrate else None
    if calibrate:
        measured = measure(recipe, lambda text: typer.echo(text, err=True))
        if rates is not None:
            write_atomic(rates, to_yaml(measured.model_dump(mode="json")).encode())
    machines = Machines(nodes, cores, gpus) if cores is not None else Machines(nodes, gpus=gpus)
    estimated = estimate_recipe(recipe, machines, measured, clips=clips)
    if as_json:
        say_json(estimated.model_dump(mode="json"))
    else:
        _say(estimated)
    if estimated.over_budget:
        raise typer.Exit(FAILED)


def _say(estimate: Estimate) -> None:
    size = f"{estimate.streams:,} streams in {estimate.shards:,} shards of up to {estimate.streams_per_shard:,}"
    say(f"Estimate of {estimate.name}: {size}")
    for task, count in estimate.items.items():
        say(f"  {task:<28} {count:>12,} streams  {estimate.task_hours[task]:>12,.1f} h")
    say(f"  audio       {estimate.hours:,.1f} h ± {2 * estimate.hours_error:,.1f} h, {estimate.responses:,} responses")
    say(f"  clips       {estimate.clips:,} in the index, {estimate.clip_hours:,.1f} h")
    limit = "" if estimate.max_clip_uses is None else f" (limit {estimate.max_clip_uses:,})"
    say(f"  uses        {estimate.uses_per_clip:,.1f} per clip on average{limit}")
    if estimate.max_clip_uses is not None and estimate.uses_per_clip > estimate.max_clip_uses / 2:
        say("  warning     streams will be rejected or short: max_clip_uses should be at least twice the average")
    say(f"  disk        {estimate.gigabytes:,.2f} GB stored or {estimate.virtual_gigabytes:,.2f} GB virtual")
    for role, usage in estimate.llm.items():
        tokens = f"{usage.input_tokens:,} input + {usage.output_tokens:,} output tokens"
        money = f"{usage.money:,.2f} money" if usage.money else "no price in the recipe (llm.prices)"
        say(f"  {role:<20} {usage.calls:,} calls, {tokens}, {money}")
    if estimate.generated_sounds:
        say(f"  sounds      {estimate.generated_sounds:,} to generate")
    if estimate.tts_hours:
        say(f"  speech      {estimate.tts_hours:,.1f} h synthesized, {estimate.asr_hours:,.1f} h transcribed by the gate")
    say(f"  compute     {estimate.core_hours:,.2f} core-hours, {_list(estimate.gpu_hours, 'GPU-hours') or 'no GPU'}")
    say(f"  money       {estimate.money:,.2f}")
    where = f"{estimate.nodes} x {estimate.cores} cores and {estimate.gpus} GPUs"
    say(f"  duration    {estimate.duration_hours:,.2f} h on {where} ({_list(estimate.wall_hours, 'h')})")
    say(f"  bottleneck  {estimate.bottleneck}")
    say(f"  based on    {estimate.planned} planned streams; rates: {estimate.rates.origin}")
    for line in estimate.over_budget:
        say(f"  over budget: {line}")


def _list(values: dict[str, float], unit: str) -> str:
    return ", ".join(f"{name} {value:,.2f} {unit}" for name, value in values.items())
