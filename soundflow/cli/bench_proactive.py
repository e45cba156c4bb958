"""`soundflow bench proactive …`: ProactiveSound-Bench and sets like it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from soundflow.cli.bench_common import Chat, Checkpoint, Concurrency, Label, RunDirectory, Server, Threshold, finish, one_of
from soundflow.cli.common import (
    Device,
    Dtype,
    Json,
    RecipeFile,
    Retries,
    Seed,
    Timeout,
    command_line,
    placement_of,
    say,
    say_json,
)
from soundflow.cli.help import sub_app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soundflow.bench.harness.collect import RunProgress
    from soundflow.bench.proactive.metadata import Prediction, Sound
    from soundflow.bench.proactive.results import Result
    from soundflow.bench.proactive.run import StreamGroup
    from soundflow.bench.proactive.score import Score

proactive_app = sub_app("Run ProactiveSound-Bench, which tests whether a model responds to the right sounds.")
Meta = Annotated[Path, typer.Option(help="Metadata of the benchmark (.jsonl).", show_default=False)]
Answers = Annotated[Path | None, typer.Option(help="Standard answers of the benchmark (.jsonl).")]
AudioRoot = Annotated[Path | None, typer.Option(help="Folder that contains `proactive-sound-effect`.")]
SoundTree = Annotated[Path, typer.Option(help="Folder that contains `proactive-sound-effect`.", show_default=False)]
Embedder = Annotated[
    str, typer.Option(help="Embedder that compares replies with the standard answers: minilm, ngrams, auto or none.")
]
Partial = Annotated[bool, typer.Option(help="Run even if recordings are missing; they count as wrong.")]


class Tier(StrEnum):
    """How sounds are grouped into streams."""

    SINGLE = "single"
    MULTIPLE = "multiple"


@proactive_app.command(
    "score",
    help="Score existing predictions: one JSON object {id, decision, reply} per line. Missing or unreadable ones are wrong.",
    epilog="Example: soundflow bench proactive score predictions.jsonl --meta proactive_reply_benchmark.jsonl",
)
def proactive_score(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="Predictions to score (.jsonl).", show_default=False)
    ],
    meta: Meta,
    answers: Answers = None,
    audio: AudioRoot = None,
    embedder: Embedder = "auto",
    threshold: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Minimum cosine similarity at which a reply matches.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench proactive score`."""
    from soundflow.bench.harness.rows import require_rows
    from soundflow.bench.proactive.metadata import read_predictions, read_sounds

    sounds = read_sounds(meta, answers)
    require_rows(predictions, "{id, decision, reply}")
    found = read_predictions(predictions, {sound.id for sound in sounds})
    _print(_scored(sounds, found, audio, embedder, threshold), as_json, {})


@proactive_app.command(
    "run",
    help="Test a checkpoint on streams (--model), or a chat model behind an OpenAI-compatible server with the public prompt "
    "(--chat). Run the same command again to resume. Exit code 3: rows are unanswered.",
    epilog="Example: soundflow bench proactive run --meta META.jsonl --audio DATA/ --model runs/stage4/model -o runs/proactive",
)
def proactive_run(
    meta: Meta,
    audio: SoundTree,
    out: RunDirectory,
    model: Checkpoint = None,
    chat: Chat = None,
    server: Server = None,
    tier: Annotated[Tier, typer.Option(help="Sounds per stream: one, or 2 to 5 of one sub-category.")] = Tier.SINGLE,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the groups of the tier multiple.")] = 0,
    manifest: Annotated[
        Path | None, typer.Option(help="List of streams (tier.jsonl) to play instead of a generated tier.")
    ] = None,
    answers: Answers = None,
    embedder: Embedder = "auto",
    threshold: Threshold = 0.5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_recorded: Annotated[bool, typer.Option(help="Keep the level of the recordings instead of the level of corpora.")] = False,
    concurrency: Concurrency = 4,
    timeout: Timeout = None,
    retries: Retries = None,
    partial: Partial = False,
    label: Label = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench proactive run`."""
    from soundflow.bench.harness.chat_player import config_of
    from soundflow.bench.harness.predictions import PREDICTIONS
    from soundflow.bench.proactive.metadata import read_predictions, read_sounds
    from soundflow.bench.proactive.results import proactive_result, write_result
    from soundflow.bench.proactive.run import ProactiveSet, run_chat, run_stream

    one_of(model, chat)
    sounds = read_sounds(meta, answers)
    proactive = ProactiveSet(sounds, audio, partial)
    groups = proactive.tier(tier.value, seed, manifest)
    if model is not None:
        progress = run_stream(
            proactive, groups, out, model, threshold=threshold, as_recorded=as_recorded, placement=placement_of(device, dtype)
        )
    else:
        config = config_of(chat or "", server, concurrency=concurrency, timeout=timeout, retries=retries)
        progress = run_chat(proactive, groups, out, config)
    found = read_predictions(out / PREDICTIONS, {sound.id for sound in sounds})
    result = _scored(sounds, found, None, embedder, None)
    write_result(out, proactive_result(result, tier.value, label or chat or str(model), progress.is_complete, bool(chat)))
    _print(result, as_json, {"run": str(out), "tier": tier.value})
    _finish([] if progress.is_complete else [progress], out)


@proactive_app.command(
    "build",
    help="Make a proactive test set from your own clips and a recipe of sub-categories, without clips of training builds.",
    epilog="Example: soundflow bench proactive build examples/proactive_bench.yaml --clips clips/ -o mybench/ --not-in corpus/",
)
def proactive_build(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the test set.", show_default=False)],
    clips: Annotated[Path | None, typer.Option(help="Directory of the clip index (default: the index of the recipe).")] = None,
    not_in: Annotated[
        list[Path] | None, typer.Option(help="Directory of a build whose clips must not be in the test set.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench proactive build`."""
    from soundflow.bench.proactive.build import META, RESPONSES, build

    record = build(recipe, out, not_in or [], clips)
    if as_json:
        say_json(record)
        return
    left = ", ".join(f"{count} {name}" for name, count in record["left_out"].items()) or "none"
    say(f"{out}: {record['sounds']} sounds, {record['respond']} RESPOND, {record['categories']} sub-categories; left out: {left}")
    if not record["not_in"]:
        say("note: without --not-in, a model may have been trained on these clips")
    files = ("--meta", out / META, "--answers", out / RESPONSES, "--audio", out)
    say(f"Next: {command_line('bench', 'proactive', 'run', *files, '--model', 'CHECKPOINT', '-o', 'RUN')}")


@proactive_app.command(
    "stability",
    help="Measure how much of the balanced accuracy at N = 1 is retained with N = 2 to 5 sounds per stream.",
    epilog="Example: soundflow bench proactive stability --meta META.jsonl --audio DATA/ --model CHECKPOINT -o runs/stable",
)
def proactive_stability(
    meta: Meta,
    audio: SoundTree,
    out: RunDirectory,
    model: Checkpoint = None,
    chat: Chat = None,
    server: Server = None,
    longest: Annotated[int, typer.Option(min=1, max=20, help="Maximum number of sounds per stream (N).")] = 5,
    concurrency: Concurrency = 4,
    timeout: Timeout = None,
    retries: Retries = None,
    seed: Seed = 0,
    threshold: Threshold = 0.5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    partial: Partial = False,
    label: Label = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench proactive stability`."""
    from soundflow.bench.harness.chat_player import config_of
    from soundflow.bench.proactive.metadata import read_sounds
    from soundflow.bench.proactive.results import write_result
    from soundflow.bench.proactive.run import ProactiveSet, run_chat, run_stream
    from soundflow.bench.proactive.stability import run_stability

    one_of(model, chat)
    proactive = ProactiveSet(read_sounds(meta), audio, partial)

    def run(groups: Sequence[StreamGroup], place: Path) -> RunProgress:
        if model is not None:
            return run_stream(proactive, groups, place, model, threshold=threshold, placement=placement_of(device, dtype))
        config = config_of(chat or "", server, concurrency=concurrency, timeout=timeout, retries=retries)
        return run_chat(proactive, groups, place, config)

    name, counts = label or chat or str(model), tuple(range(1, longest + 1))
    result, scores, progress = run_stability(proactive, out, run, name, "chat" if chat else "runtime", counts, seed)
    write_result(out, result)
    if as_json:
        say_json({str(count): one.to_json() for count, one in scores.items()} | {"figures": result.figures})
    else:
        _grid(result)
    _finish([one for one in progress if not one.is_complete], out)


@proactive_app.command(
    "recordings",
    help="Play long recordings to a checkpoint, without cleaning or levelling, and count false alarms per hour. A file take.txt "
    "next to take.wav holds its labels as Audacity exports them: start, end, RESPOND or IGNORE.",
    epilog="Example: soundflow bench proactive recordings takes/ --model runs/stage4/model -o runs/takes",
)
def proactive_recordings(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of recordings.", show_default=False)],
    model: Annotated[Path, typer.Option(help="Directory of a checkpoint made by `soundflow train`.", show_default=False)],
    out: RunDirectory,
    threshold: Threshold = 0.5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    label: Label = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench proactive recordings`."""
    from soundflow.bench.harness.predictions import PREDICTIONS
    from soundflow.bench.harness.rows import read_rows
    from soundflow.bench.proactive.recordings import read_recordings, recording_rates, recordings_result, run_recordings
    from soundflow.bench.proactive.results import write_result

    takes = read_recordings(folder)
    run_recordings(takes, out, model, threshold, placement_of(device, dtype))
    rows = {row.text("id"): row.values for row in read_rows(out / PREDICTIONS)}
    result = recordings_result(takes, rows, label or str(model))
    write_result(out, result)
    if as_json:
        say_json(recording_rates(takes, rows))
    else:
        _grid(result)
        say("".join(f"{note}. " for note in result.notes) + f"Next: {command_line('bench', 'report', out)}")


def _grid(result: Result) -> None:
    """Print the table of a result."""
    for line in result.grid.lines() if result.grid else ():
        say(line)


def _finish(progress: Sequence[RunProgress], out: Path) -> None:
    """Exit with code 3 if rows are missing."""
    if progress:
        finish(progress[0], out)


def _scored(
    sounds: list[Sound], found: dict[str, Prediction], audio: Path | None, embedder: str, threshold: float | None
) -> Score:
    from soundflow.bench.proactive.replies import match_replies
    from soundflow.bench.proactive.run import ProactiveSet
    from soundflow.bench.proactive.score import score

    if audio is not None:
        found = ProactiveSet(sounds, audio, partial=True).measured(found)
    replies = None
    if embedder != "none" and any(sound.standard_answers for sound in sounds):
        replies = match_replies(sounds, found, _embedder(embedder), threshold)
    return score(sounds, found, replies=replies)


def _print(result: Score, as_json: bool, more: dict[str, Any]) -> None:
    if as_json:
        say_json(result.to_json() | more)
    else:
        for line in result.lines():
            say(line)


def _embedder(name: str) -> Any:
    from soundflow.backends.embed.embedders import open_embedder, resolved
    from soundflow.schemas.base import InputError
    from soundflow.schemas.retrieval import RetrievalConfig

    if name not in ("auto", "minilm", "ngrams"):
        raise InputError("unknown embedder", field="--embedder", value=name, remedy="Embedders: auto, minilm, ngrams, none")
    return open_embedder(resolved(RetrievalConfig.model_validate({"embedder": name})))
