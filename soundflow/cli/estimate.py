"""`plan`: the bill before you pay it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundflow.cli.common import FAILED, Json, RecipeFile, say, say_json

if TYPE_CHECKING:
    from soundflow.schemas.bill import Bill

top = typer.Typer()


@top.command(
    help="Reckon what a recipe takes: streams, hours, bytes, calls, core and GPU hours, money, time. No audio is made."
    " Exit 1 when it passes the recipe's budget.",
    epilog="Example: soundflow plan corpus.yaml --nodes 8 --cores 64 --calibrate --rates rates.yaml",
)
def plan(
    recipe: RecipeFile,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    cores: Annotated[int | None, typer.Option(min=1, help="Per machine; default: those of this one.")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="In all.")] = 0,
    calibrate: Annotated[bool, typer.Option(help="Build a few streams and measure (asks the recipe's models).")] = False,
    rates: Annotated[
        Path | None, typer.Option(help="Rates as YAML: read, or with --calibrate written.", show_default=False)
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Reckon with this clip index while the recipe has none yet.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """`soundflow plan`."""
    import yaml

    from soundflow.pipeline.build.calibrate import calibrate as measure
    from soundflow.pipeline.estimate.estimate import Machines
    from soundflow.pipeline.estimate.estimate import plan as reckon
    from soundflow.schemas.atomic_file import write_atomic
    from soundflow.schemas.bill import Rates

    told = Rates.from_yaml(rates) if rates is not None and not calibrate else None
    if calibrate:
        told = measure(recipe, lambda text: typer.echo(text, err=True))
        if rates is not None:
            write_atomic(rates, yaml.safe_dump(told.model_dump(mode="json"), sort_keys=False).encode())
    machines = Machines(nodes, cores, gpus) if cores is not None else Machines(nodes, gpus=gpus)
    bill = reckon(recipe, machines, told, clips=clips)
    if as_json:
        say_json(bill.model_dump(mode="json"))
    else:
        _say(bill)
    if bill.over_budget:
        raise typer.Exit(FAILED)


def _say(bill: Bill) -> None:
    say(f"{bill.name}: {bill.streams:,} streams in {bill.shards:,} shards of up to {bill.streams_per_shard:,}")
    for task, count in bill.items.items():
        say(f"  {task:<28} {count:>12,} streams  {bill.task_hours[task]:>12,.1f} h")
    say(f"  audio     {bill.hours:,.1f} h, give or take {2 * bill.hours_error:,.1f}; {bill.responses:,} responses")
    say(f"  clips     {bill.clips:,} in the index, {bill.clip_hours:,.1f} h")
    say(f"  disk      {bill.gigabytes:,.2f} GB stored, {bill.virtual_gigabytes:,.2f} GB virtual")
    for role, usage in bill.llm.items():
        tokens = f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens"
        money = f"{usage.money:,.2f} money" if usage.money else "no price in the recipe (llm.prices)"
        say(f"  {role:<20} {usage.calls:,} calls, {tokens}, {money}")
    if bill.generated_sounds:
        say(f"  {bill.generated_sounds:,} sounds to be made")
    if bill.tts_hours:
        say(f"  speech    {bill.tts_hours:,.1f} h rendered, {bill.asr_hours:,.1f} h heard by the gate")
    say(f"  work      {bill.core_hours:,.2f} core-hours; " + (_list(bill.gpu_hours, "GPU-hours") or "no GPU"))
    say(f"  money     {bill.money:,.2f}")
    where = f"{bill.nodes} x {bill.cores} cores, {bill.gpus} GPUs"
    say(f"  time      {bill.hours_to_wait:,.2f} h on {where}: {_list(bill.wall_hours, 'h')}")
    say(f"  slowest   {bill.bottleneck}")
    say(f"  rates     {bill.rates.origin}; reckoned from {bill.planned} planned streams")
    for line in bill.over_budget:
        say(f"  over the budget: {line}")


def _list(values: dict[str, float], unit: str) -> str:
    return ", ".join(f"{name} {value:,.2f} {unit}" for name, value in values.items())
