"""`soundflow ask`, `soundflow curate` and `soundflow audit`: what a language model decides before audio is rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import FAILED, INCOMPLETE, Json, LlmOf, MaybeLlmOf, RecipeFile, say, say_json

top = typer.Typer()


@top.command(
    help="Send one request to a role of the language model, as a build does, and show the messages and the verdict.",
    epilog="Example: soundflow ask silence_auditor --input sound.yaml --model gpt-4.1-mini",
)
def ask(
    role: Annotated[
        str,
        typer.Argument(
            help="Role: scenario_planner, event_refiner, clip_verifier, spoken_rewriter, interpreter, history_question, "
            "history_answerer or silence_auditor.",
            show_default=False,
        ),
    ],
    source: Annotated[
        Path,
        typer.Option(
            "--input",
            metavar="FILE",
            help="YAML or JSON file with the values that the prompt of the role needs.",
            show_default=False,
        ),
    ],
    recipe: MaybeLlmOf = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Model name, instead of --recipe. $OPENAI_BASE_URL and $OPENAI_API_KEY name the server."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the request; another seed gives another answer.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Directory of cached answers (default: the cache shared by all builds).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow ask`."""
    from soundflow.pipeline.services.answer_cache import AnswerCache
    from soundflow.pipeline.services.ask_once import ask_once, read_llm, read_values
    from soundflow.schemas.base import InputError
    from soundflow.schemas.llm import LlmConfig

    if (recipe is None) == (model is None):
        raise InputError("no model is given, or two", remedy="Give either --recipe FILE with an llm section or --model NAME")
    config = read_llm(recipe) if recipe else LlmConfig(model=model or "")
    answer = ask_once(role, read_values(source), config, seed=seed, answers=AnswerCache(cache))
    if as_json:
        say_json(answer.to_json())
    else:
        for line in answer.lines():
            say(line)
    if not answer.ok:
        raise typer.Exit(FAILED)


@top.command(
    help="Plan the first streams of a recipe without rendering audio. Answers of the model are cached for the build.",
    epilog="Example: soundflow curate corpus.yaml --n 5 --show",
)
def curate(
    recipe: RecipeFile,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=1000, help="Number of streams to plan.")] = 5,
    show: Annotated[bool, typer.Option(help="Show every event with its role, clip, verdicts and response.")] = False,
    as_json: Json = False,
) -> None:
    """Run `soundflow curate`."""
    from soundflow.pipeline.build.curate_once import curate_once
    from soundflow.pipeline.mechanics.console import Console

    with Console("curate", "scenes") as console:
        views = curate_once(recipe, n, lambda done: console.show(done, n))
    if as_json:
        say_json([view.to_json() for view in views])
        return
    for view in views:
        say(view.headline())
        if show:
            say(view.table())


@top.command(
    help="Discard the sounds of a manifest that a language model finds borderline or judges differently from their decision. "
    "This is the paper's silent-audio audit with four criteria. Sounds with an ambiguous label are kept, but "
    "never used in proactive tasks.",
    epilog="Example: soundflow audit manifest.jsonl -o audited.jsonl --llm corpus.yaml",
)
def audit(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST.jsonl", help="Manifest of sounds (.jsonl).", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="Manifest to write. Put it next to the input, because its paths stay relative.",
            show_default=False,
        ),
    ],
    llm: LlmOf,
    as_json: Json = False,
) -> None:
    """Run `soundflow audit`."""
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.services.ask_once import read_llm
    from soundflow.pipeline.speech.audit import audit_manifest, read_rules

    config, rules = read_llm(llm), read_rules(llm)
    with Console("audit", "distinct sounds") as console:
        summary = audit_manifest(manifest, out, config, rules=rules, on_done=console.show)
    if as_json:
        say_json(summary.to_json())
    else:
        for line in summary.lines():
            say(line)
    if summary.failed:
        raise typer.Exit(INCOMPLETE)
