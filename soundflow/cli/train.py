"""`soundflow model …`, `train` and `evaluate`: a corpus becomes a model that decides when to respond."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from soundflow.cli.common import Device, Dtype, Json, Seed, command_line, placement_of, say, say_json
from soundflow.cli.help import sub_app

if TYPE_CHECKING:
    from soundflow.training.distributed import Processes
    from soundflow.training.metrics import StepLog
    from soundflow.training.trainer import TrainResult

REPORT_SECONDS: Final = 60.0
"""Period of rewriting the report of a run, in seconds; it is also written at the end."""
top = typer.Typer()
model_app = sub_app("Make a streaming model and estimate the memory that training it takes.")


def _need_torch() -> None:
    from importlib.util import find_spec

    from soundflow.schemas.base import InputError

    if missing := [name for name in ("torch", "transformers", "tensorboard") if find_spec(name) is None]:
        raise InputError(f"{', '.join(missing)} not installed", remedy="Install the extra: pip install 'soundflow-audio[train]'")


@model_app.command(
    "init",
    help="Make a streaming model: nano or tiny with random weights, or a Qwen2.5-Omni checkpoint adapted to streaming.",
    epilog="Example: soundflow model init nano --corpus corpus/ -o models/nano",
)
def model_init(
    base: Annotated[
        str,
        typer.Argument(
            metavar="nano|tiny|CHECKPOINT", help="Preset, or directory or hub id of a checkpoint.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the new checkpoint.", show_default=False)],
    corpus: Annotated[
        list[Path] | None, typer.Option(help="Directory of a build whose text defines the vocabulary of a nano or tiny model.")
    ] = None,
    layout: Annotated[str, typer.Option(help="Token layout of a model that is made without --corpus.")] = "soundflow/1",
    chunk_ms: Annotated[int, typer.Option(min=200, help="Decision period in milliseconds, a multiple of 200.")] = 400,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run `soundflow model init`."""
    _need_torch()
    from soundflow.model.presets import PRESETS
    from soundflow.schemas.base import InputError
    from soundflow.schemas.suggest import did_you_mean
    from soundflow.training.start import init_model

    if base not in PRESETS and "/" not in base and not Path(base).is_dir():
        remedy = f"{did_you_mean(base, PRESETS)} Name a preset (nano, tiny), a directory or a hub id OWNER/NAME".strip()
        raise InputError("unknown model", value=base, remedy=remedy)
    made = init_model(base, out, corpus or [], layout=layout, chunk_ms=chunk_ms, seed=seed)
    if as_json:
        say_json(made.to_json())
    else:
        say(f"{out}: {made.parameters / 1e6:.2f} M parameters, {made.words} words, layout {made.layout}")
        first = "cpu/0" if base in PRESETS else "1"  # random weights: stage 0 trains the audio encoder first
        say(f"Next: {command_line('train', 'CORPUS', '--stage', first, '--model', out, '-o', 'RUN')}")


@model_app.command(
    "estimate",
    help="Print parameter counts by group and estimate the memory per GPU of each training stage, from shapes alone.",
    epilog="Example: soundflow model estimate 3b --processes 32",
)
def model_estimate(
    name: Annotated[str, typer.Argument(metavar="nano|tiny|3b", help="Preset of the model.")] = "3b",
    processes: Annotated[int, typer.Option(min=1, help="Number of GPUs.")] = 32,
    stages: Annotated[
        list[str] | None, typer.Option("--stage", help="Stage preset or YAML file (default: the presets 1 to 4).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow model estimate`."""
    _need_torch()
    from soundflow.training.config import load_stage
    from soundflow.training.estimate import estimate, meta_model

    model = meta_model(name)
    found = [estimate(model, load_stage(stage), processes) for stage in stages or ("1", "2", "3", "4")]
    if as_json:
        say_json([one.to_json() for one in found])
    else:
        for one in found:
            for line in one.lines():
                say(line)


@top.command(
    help="Train one stage on builds. Run the same command again to resume. Under torchrun, processes share the work by FSDP2.",
    epilog="Example: soundflow train corpus/ --stage cpu/1 --model models/nano -o runs/stage1",
)
def train(
    corpora: Annotated[list[Path], typer.Argument(metavar="CORPUS...", help="Directories of builds.", show_default=False)],
    stage: Annotated[
        str,
        typer.Option("--stage", "--preset", help="Stage: a preset (1 to 4, cpu/0 to cpu/4) or a YAML file.", show_default=False),
    ],
    model: Annotated[
        Path,
        typer.Option(
            help="Checkpoint to start from, made by `model init` or by an earlier stage (RUN/model).", show_default=False
        ),
    ],
    run: Annotated[Path, typer.Option("-o", "--out", help="Directory of the run.", show_default=False)],
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(min=0, help="Number of processes that prepare batches; 0 uses a thread.")] = 0,
    device: Device = "auto",
    dtype: Annotated[
        str, typer.Option(help="Type that the model computes in: auto, fp32 or bf16; auto is the precision of the stage.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Run `soundflow train`."""
    _need_torch()
    from soundflow.pipeline.build.virtual import Renderer
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.mechanics.stopping import deferred_signals
    from soundflow.training.config import load_stage
    from soundflow.training.corpus import StoredCorpus
    from soundflow.training.distributed import process_group
    from soundflow.training.report import write_report
    from soundflow.training.trainer import Trainer

    place = placement_of(device, dtype)  # the weights that are trained are fp32 in any case
    config, source = load_stage(stage), StoredCorpus(*corpora, renderer=Renderer())
    config = config if dtype == "auto" else config.model_copy(update={"precision": dtype})

    def work(processes: Processes, show: Callable[[StepLog], None], should_stop: Callable[[], bool]) -> TrainResult:
        written = time.monotonic()

        def on_step(line: StepLog) -> None:
            nonlocal written
            show(line)
            if time.monotonic() - written > REPORT_SECONDS:
                write_report(run)
                written = time.monotonic()

        trainer = Trainer(
            config, source, model, run, processes, seed=seed, workers=workers, on_step=on_step, should_stop=should_stop
        )
        try:
            return trainer.train()
        finally:
            if processes.is_first:
                with contextlib.suppress(OSError):  # after a full disk, report the cause and not this
                    write_report(run)

    with process_group(place.device) as processes, deferred_signals() as signalled, Console(config.name, "steps") as console:
        result = work(processes, lambda line: console.show(line.step, config.steps, line.describe()), signalled)
        first = processes.is_first
    if first and as_json:
        say_json({"run": str(run), "model": str(result.model), "steps": result.steps, "log": _last(run)})
    elif first:
        say(f"{run}: {result.steps} steps; model: {result.model}; report: {run / 'report.html'}")


def _last(run: Path) -> object:
    from soundflow.training.logs import read_log

    lines = read_log(run)
    return lines[-1].model_dump(mode="json") if lines else None


@top.command(
    help="Play the streams of builds to a model chunk by chunk and score when it responds and what it answers.",
    epilog="Example: soundflow evaluate runs/stage4/model heldout/ --within 2 --json",
)
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Directory of a checkpoint.", show_default=False)],
    corpora: Annotated[list[Path], typer.Argument(metavar="CORPUS...", help="Directories of builds.", show_default=False)],
    within: Annotated[int, typer.Option(min=0, help="Number of chunks by which a response may be early or late (k).")] = 2,
    threshold: Annotated[float, typer.Option(help="Margin in logits by which <response> must exceed <silent>.")] = 0.0,
    streams: Annotated[int | None, typer.Option(min=1, help="Maximum number of streams to play (default: all).")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Run `soundflow evaluate`."""
    _need_torch()
    from itertools import islice

    from soundflow.model.thinker import StreamingThinker
    from soundflow.pipeline.build.virtual import Renderer
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.training.corpus import StoredCorpus
    from soundflow.training.evaluate import Evaluator, score

    source = StoredCorpus(*corpora, renderer=Renderer())
    evaluator = Evaluator(StreamingThinker.load(model, placement_of(device, dtype)), source, threshold)
    places = list(islice(evaluator.streams(), streams))
    played = []
    with Console("evaluate", "streams") as console:
        for place in places:
            played.append(evaluator.evaluate(*place))
            console.show(len(played), len(places))
    figures = score(played, within).to_json() | {"within": within, "streams": len(played)}
    if as_json:
        say_json(figures)
    else:
        for name, value in figures.items():
            say(f"{name:<24} {value:.3f}" if isinstance(value, float) else f"{name:<24} {value}")
