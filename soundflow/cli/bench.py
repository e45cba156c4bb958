"""`soundflow bench …`: benchmarks of models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundflow.cli.bench_common import Chat, Checkpoint, Concurrency, Label, RunDirectory, Server, Threshold, finish, one_of
from soundflow.cli.bench_proactive import proactive_app
from soundflow.cli.common import Device, Dtype, Json, Retries, Timeout, command_line, placement_of, say, say_json
from soundflow.cli.help import sub_app

if TYPE_CHECKING:
    from soundflow.bench.harness.collect import RunProgress
    from soundflow.bench.suites.item import Benchmark, Figures, Item

bench_app = sub_app("Run and score the public benchmarks and ProactiveSound-Bench.")
bench_app.add_typer(proactive_app, name="proactive")
NAMES = "mmau|alpaca-eval|sd-qa|llama-questions|web-questions|librispeech|covost2"
Name = Annotated[str, typer.Argument(metavar=NAMES, help="Name of the benchmark.", show_default=False)]
Data = Annotated[Path, typer.Option(help="File or folder of the benchmark as published.", show_default=False)]
Recordings = Annotated[Path | None, typer.Option(help="Folder of the recordings, if the rows hold only their names.")]
Judge = Annotated[
    str | None,
    typer.Option(help="Name of the chat model that judges alpaca-eval and sd-qa; the published results use gpt-4o-mini."),
]
JudgeServer = Annotated[str | None, typer.Option(help="Address of the OpenAI-compatible server of the judge (default: OpenAI).")]


@bench_app.command(
    "run",
    help="Run one of the seven public benchmarks on a checkpoint (--model) or a chat model behind an OpenAI-compatible server "
    "(--chat), and score it. Run the same command again to resume. Exit code 3: rows are unanswered.",
    epilog="Example: soundflow bench run librispeech --data LibriSpeech/ --model runs/stage4/model -o runs/librispeech",
)
def run(
    name: Name,
    data: Data,
    out: RunDirectory,
    model: Checkpoint = None,
    chat: Chat = None,
    server: Server = None,
    audio: Recordings = None,
    mode: Annotated[str | None, typer.Option(help="Form of the instruction: text or audio (default: as in the paper).")] = None,
    segments: Annotated[int, typer.Option(min=1, max=100, help="Number of items that share one stream (N).")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of items to run (default: all).")] = None,
    judge: Judge = None,
    judge_server: JudgeServer = None,
    threshold: Threshold = 0.5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    concurrency: Concurrency = 4,
    timeout: Timeout = None,
    retries: Retries = None,
    label: Label = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench run`."""
    from soundflow.bench.harness.chat_player import config_of
    from soundflow.bench.proactive.results import Result, write_result
    from soundflow.bench.suites.item import Mode, check_recordings
    from soundflow.bench.suites.registry import benchmark
    from soundflow.bench.suites.run import answers_of, run_chat, run_stream
    from soundflow.schemas.base import InputError

    one_of(model, chat)
    kind = benchmark(name)
    if mode is not None and mode not in [known.value for known in Mode]:
        raise InputError("unknown mode", field="--mode", value=mode, remedy="Modes: text, audio")
    presented = kind.mode if mode is None else Mode(mode)
    items = kind.read(data, audio)[:limit]
    check_recordings(items)
    if model is not None:
        place = placement_of(device, dtype)
        progress = run_stream(kind, items, out, model, presented, segments=segments, threshold=threshold, placement=place)
    else:
        config = config_of(chat or "", server, concurrency=concurrency, timeout=timeout, retries=retries)
        progress = run_chat(kind, items, out, config, presented, segments=segments)
    answers = answers_of(out)
    figures, judged = _scored(kind, items, answers.texts, out, judge, judge_server, timeout, retries)
    figures = replace(figures, notes=(*figures.notes, *answers.notes()))
    result = Result(
        benchmark=kind.name,
        mode=presented.value,
        segments=segments,
        model=label or chat or str(model),
        tester="chat" if chat else "runtime",
        figures=dict(figures.values),
        n=figures.n,
        missing=figures.missing,
        complete=progress.is_complete and limit is None,
        intervals=dict(figures.intervals),
        notes=figures.notes,
    )
    write_result(out, result)
    _print(figures, as_json)
    for part in (progress, judged):
        if part is not None and not part.is_complete:
            finish(part, out)


@bench_app.command(
    "score",
    help="Score existing answers to one of the seven public benchmarks: one JSON object {id, answer} per line, with the ids of "
    "`bench run`. Missing answers count as wrong. Recordings are not needed.",
    epilog="Example: soundflow bench score mmau predictions.jsonl --data mmau-test-mini.json --json",
)
def score(
    name: Name,
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Answers to score (.jsonl).", show_default=False)],
    data: Data,
    audio: Recordings = None,
    judge: Judge = None,
    judge_server: JudgeServer = None,
    votes: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Directory for the votes of the judge (default: the folder of PREDICTIONS)."),
    ] = None,
    timeout: Timeout = None,
    retries: Retries = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench score`."""
    from soundflow.bench.harness.rows import require_rows
    from soundflow.bench.suites.registry import benchmark
    from soundflow.bench.suites.run import read_answers

    kind = benchmark(name)
    items = kind.read(data, audio)
    require_rows(predictions, "{id, answer}")
    answers = read_answers(predictions, {item.id for item in items})
    place = votes or predictions.parent
    figures, judged = _scored(kind, items, answers.texts, place, judge, judge_server, timeout, retries)
    figures = replace(figures, notes=(*figures.notes, *answers.notes()))
    _print(figures, as_json)
    if judged is not None and not judged.is_complete:
        finish(judged, place)


@bench_app.command(
    "report",
    help="Write one HTML page that compares runs and analyses with the paper's tables.",
    epilog="Example: soundflow bench report runs/librispeech runs/proactive -o bench.html",
)
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Directories of runs, or folders that contain them.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="HTML file to write.")] = Path("bench.html"),
    analysis: Annotated[list[Path] | None, typer.Option(help="File written by `soundflow bench analyse`.")] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench report`."""
    from soundflow.bench.proactive.results import read_results
    from soundflow.bench.report.analyses import Analysis
    from soundflow.bench.report.page import write_report
    from soundflow.schemas.base import InputError

    analyses = []
    for path in analysis or []:
        try:
            analyses.append(Analysis.from_json(path.read_bytes(), file=path))
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
            raise InputError(why, file=path, remedy="Make one with `soundflow bench analyse`") from None
    results = read_results(runs or [])
    write_report(out, results, analyses)
    if as_json:
        say_json({"page": str(out), "runs": [str(place) for place, _ in results]})
    else:
        say(f"{out}: {len(results)} runs compared with the paper's tables")


@bench_app.command(
    "analyse",
    help="Analyse a checkpoint: continuity across chunks by layer, and the attention heads whose ablation changes decisions.",
    epilog="Example: soundflow bench analyse runs/stage4/model heldout/ -o analysis.json",
)
def analyse(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Directory of a checkpoint.", show_default=False)],
    corpora: Annotated[list[Path], typer.Argument(metavar="CORPUS...", help="Directories of builds.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="JSON file to write, the input of `bench report --analysis`.")] = Path(
        "analysis.json"
    ),
    streams: Annotated[int, typer.Option(min=1, help="Number of streams to analyse, the first window of each.")] = 16,
    device: Device = "auto",
    dtype: Dtype = "auto",
    label: Label = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow bench analyse`."""
    from soundflow.bench.experiments.analyses.analyse import analyse as both
    from soundflow.schemas.atomic_file import write_atomic

    analysis = both(model, corpora, streams, label, placement_of(device, dtype))
    write_atomic(out, analysis.canonical_json() + b"\n")
    if as_json:
        say_json(analysis.model_dump(mode="json"))
        return
    for line in analysis.lines():
        say(line)
    say(f"{out}. Next: {command_line('bench', 'report', 'RUN...', '--analysis', out)}")


def _scored(
    kind: Benchmark,
    items: list[Item],
    answers: dict[str, str],
    out: Path,
    judge: str | None,
    server: str | None,
    timeout: float | None,
    retries: int | None,
) -> tuple[Figures, RunProgress | None]:
    """Return the figures, and the progress of the judge if there is one."""
    if not kind.rubric or judge is None:
        return kind.score(items, answers, {}), None
    from soundflow.bench.suites.judging import judge as ask_judge
    from soundflow.bench.suites.judging import judge_config

    config = judge_config(judge, server, timeout=timeout, retries=retries)
    progress, verdicts = ask_judge(items, answers, out / "judge", config, kind.rubric)
    return kind.score(items, answers, verdicts), progress


def _print(figures: Figures, as_json: bool) -> None:
    if as_json:
        say_json(figures.to_json())
    else:
        for line in figures.lines():
            say(line)
