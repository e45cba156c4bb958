"""`soundflow ask` and `soundflow curate`: curation before anything is rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import FAILED, INCOMPLETE, Json, LlmOf, MaybeLlmOf, RecipeFile, say, say_json

top = typer.Typer()


@top.command(
    help="Ask one role of the language model once, as a build would, and show everything that was said.",
    epilog="Example: soundflow ask silence_auditor --input sound.yaml --model gpt-4.1-mini",
)
def ask(
    role: Annotated[
        str,
        typer.Argument(
            help="scenario_planner, event_refiner, clip_verifier, spoken_rewriter, interpreter, history_question, "
            "history_answerer or silence_auditor.",
            show_default=False,
        ),
    ],
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="YAML or JSON: the values of the role's prompt.", show_default=False)
    ],
    recipe: MaybeLlmOf = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Without a recipe; $OPENAI_BASE_URL and $OPENAI_API_KEY say where.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another answer.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Directory of answers; default: the one all builds share.")] = None,
    as_json: Json = False,
) -> None:
    """`soundflow ask`."""
    from soundflow.pipeline.services.answer_cache import AnswerCache
    from soundflow.pipeline.services.ask_once import ask_once, read_llm, read_values
    from soundflow.schemas.base import InputError
    from soundflow.schemas.llm import LlmConfig

    if (recipe is None) == (model is None):
        raise InputError("which model?", remedy="Give --recipe FILE with an llm section, or --model NAME")
    config = read_llm(recipe) if recipe else LlmConfig(model=model or "")
    asked = ask_once(role, read_values(source), config, seed=seed, answers=AnswerCache(cache))
    if as_json:
        say_json(asked.to_json())
    else:
        for line in asked.lines():
            say(line)
    if not asked.ok:
        raise typer.Exit(FAILED)


@top.command(
    help="Plan the first scenes of a recipe as its build will, render nothing; what a model answers is kept for the build.",
    epilog="Example: soundflow curate corpus.yaml --n 5 --show",
)
def curate(
    recipe: RecipeFile,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=1000, help="Samples.")] = 5,
    show: Annotated[bool, typer.Option(help="Every event: role, clip, verdicts, what is said.")] = False,
    as_json: Json = False,
) -> None:
    """`soundflow curate`."""
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
    help="Of a manifest's sounds keep those on which a model agrees whether they call for a response: four criteria, borderline "
    "sounds are discarded (the paper's silent-audio audit). Sounds whose label leaves it open are kept and never used unasked.",
    epilog="Example: soundflow audit manifest.jsonl -o audited.jsonl --llm corpus.yaml",
)
def audit(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST.jsonl", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Beside the manifest: paths stay as they are.", show_default=False)],
    llm: LlmOf,
    as_json: Json = False,
) -> None:
    """`soundflow audit`."""
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.services.ask_once import read_llm
    from soundflow.pipeline.speech.audit import audit_manifest

    config = read_llm(llm)
    with Console("audit", "kinds of sounds") as console:
        told = audit_manifest(manifest, out, config, on_done=console.show)
    if as_json:
        say_json(told.to_json())
    else:
        for line in told.lines():
            say(line)
    if told.failed:
        raise typer.Exit(INCOMPLETE)
