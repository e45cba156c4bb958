"""`soundflow bench …`: benchmarks of models, scored honestly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundflow.cli.bench_common import Chat, Checkpoint, Concurrency, Label, RunDirectory, Server, Threshold, finish, one_of
from soundflow.cli.bench_proactive import proactive_app
from soundflow.cli.common import Json, Retries, Timeout, say, say_json
from soundflow.cli.help import sub_app

if TYPE_CHECKING:
    from soundflow.bench.harness.driving import Driven
    from soundflow.bench.suites.item import Benchmark, Figures, Item

bench_app = sub_app("Benchmarks of models.")
bench_app.add_typer(proactive_app, name="proactive")
NAMES = "mmau|alpaca-eval|sd-qa|llama-questions|web-questions|librispeech|covost2"
Name = Annotated[str, typer.Argument(metavar=NAMES, show_default=False)]
Data = Annotated[Path, typer.Option(help="The published file or folder.", show_default=False)]
Recordings = Annotated[Path | None, typer.Option(help="Where recordings are that the rows only name.")]
Judge = Annotated[str | None, typer.Option(help="A chat model that judges (alpaca-eval, sd-qa); published: gpt-4o-mini.")]
JudgeServer = Annotated[str | None, typer.Option(help="The judge's address; default: OpenAI's.")]


@bench_app.command(
    "run",
    help="Run one of the seven public benchmarks on a checkpoint (--model) or a chat model behind an OpenAI-compatible server "
    "(--chat), and score it. The same command resumes; exit code 3 when a server left rows unanswered.",
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
    mode: Annotated[str | None, typer.Option(help="How it is told what to do: text or audio; default: as in the paper.")] = None,
    segments: Annotated[int, typer.Option(min=1, max=100, help="N: so many items share one stream.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many items.")] = None,
    judge: Judge = None,
    judge_server: JudgeServer = None,
    threshold: Threshold = 0.5,
    concurrency: Concurrency = 4,
    timeout: Timeout = None,
    retries: Retries = None,
    label: Label = None,
    as_json: Json = False,
) -> None:
    """`soundflow bench run`."""
    from soundflow.bench.harness.chat_player import config_of
    from soundflow.bench.proactive.results import Result, write_result
    from soundflow.bench.suites.item import Mode, check_recordings
    from soundflow.bench.suites.registry import benchmark
    from soundflow.bench.suites.run import answers_of, run_chat, run_stream
    from soundflow.schemas.base import InputError

    one_of(model, chat)
    kind = benchmark(name)
    if mode is not None and mode not in [known.value for known in Mode]:
        raise InputError("no such mode", field="--mode", value=mode, remedy="There are: text, audio")
    asked = kind.mode if mode is None else Mode(mode)
    items = kind.read(data, audio)[:limit]
    check_recordings(items)
    if model is not None:
        driven = run_stream(kind, items, out, model, asked, segments=segments, threshold=threshold)
    else:
        config = config_of(chat or "", server, concurrency=concurrency, timeout=timeout, retries=retries)
        driven = run_chat(kind, items, out, config, asked, segments=segments)
    answers = answers_of(out)
    figures, judged = _scored(kind, items, answers, out, judge, judge_server, timeout, retries)
    result = Result(
        benchmark=kind.name,
        mode=asked.value,
        segments=segments,
        model=label or chat or str(model),
        tester="chat" if chat else "runtime",
        figures=dict(figures.values),
        n=figures.n,
        missing=figures.missing,
        complete=driven.whole and limit is None,
        intervals=dict(figures.intervals),
        notes=figures.notes,
    )
    write_result(out, result)
    _tell(figures, as_json)
    for part in (driven, judged):
        if part is not None and not part.whole:
            finish(part, out)


@bench_app.command(
    "score",
    help="Score anyone's answers to one of the seven, one JSON object {id, answer} a line (ids as `bench run` writes "
    "them); missing ones are wrong. Recordings are not needed.",
    epilog="Example: soundflow bench score mmau predictions.jsonl --data mmau-test-mini.json --json",
)
def score(
    name: Name,
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", show_default=False)],
    data: Data,
    audio: Recordings = None,
    judge: Judge = None,
    judge_server: JudgeServer = None,
    votes: Annotated[Path | None, typer.Option("-o", "--out", help="Directory that keeps a judge's votes.")] = None,
    timeout: Timeout = None,
    retries: Retries = None,
    as_json: Json = False,
) -> None:
    """`soundflow bench score`."""
    from soundflow.bench.harness.rows import some_rows
    from soundflow.bench.suites.registry import benchmark
    from soundflow.bench.suites.run import read_answers

    kind = benchmark(name)
    items = kind.read(data, audio)
    some_rows(predictions, "{id, answer}")
    answers = read_answers(predictions, {item.id for item in items})
    figures, judged = _scored(kind, items, answers, votes or predictions.parent, judge, judge_server, timeout, retries)
    _tell(figures, as_json)
    if judged is not None and not judged.whole:
        finish(judged, votes or predictions.parent)


@bench_app.command(
    "report",
    help="One HTML page of runs and analyses beside the paper's tables; what was not run says so.",
    epilog="Example: soundflow bench report runs/librispeech runs/proactive -o bench.html",
)
def report(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="RUN...", help="Directories of runs, or above them.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The page.")] = Path("bench.html"),
    analysis: Annotated[list[Path] | None, typer.Option(help="What `soundflow bench analyse` wrote.")] = None,
    as_json: Json = False,
) -> None:
    """`soundflow bench report`."""
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
        say(f"{out}: {len(results)} runs beside the paper's tables")


@bench_app.command(
    "analyse",
    help="Where a checkpoint bridges chunks and which attention head decides: continuity by layer, single-head ablation.",
    epilog="Example: soundflow bench analyse runs/stage4/model heldout/ -o analysis.json",
)
def analyse(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint.", show_default=False)],
    corpora: Annotated[list[Path], typer.Argument(metavar="CORPUS...", help="Builds.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="What `bench report --analysis` reads.")] = Path("analysis.json"),
    streams: Annotated[int, typer.Option(min=1, help="So many streams, their first window each.")] = 16,
    label: Label = None,
    as_json: Json = False,
) -> None:
    """`soundflow bench analyse`."""
    from soundflow.bench.experiments.analyses.analyse import analyse as both
    from soundflow.schemas.atomic_file import write_atomic

    analysis = both(model, corpora, streams, label)
    write_atomic(out, analysis.canonical_json() + b"\n")
    if as_json:
        say_json(analysis.model_dump(mode="json"))
        return
    for line in analysis.lines():
        say(line)
    say(f"{out}. Next: soundflow bench report RUN... --analysis {out}")


def _scored(
    kind: Benchmark,
    items: list[Item],
    answers: dict[str, str],
    out: Path,
    judge: str | None,
    server: str | None,
    timeout: float | None,
    retries: int | None,
) -> tuple[Figures, Driven | None]:
    """Figures, and how far the judge got where there is one."""
    if not kind.rubric or judge is None:
        return kind.score(items, answers, {}), None
    from soundflow.bench.suites.judging import judge as ask_judge
    from soundflow.bench.suites.judging import judge_config

    config = judge_config(judge, server, timeout=timeout, retries=retries)
    driven, verdicts = ask_judge(items, answers, out / "judge", config, kind.rubric)
    return kind.score(items, answers, verdicts), driven


def _tell(figures: Figures, as_json: bool) -> None:
    if as_json:
        say_json(figures.to_json())
    else:
        for line in figures.lines():
            say(line)
