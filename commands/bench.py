"""`soundflow bench …`: benchmarks of models, scored honestly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.common import Json, say, say_json, sub_app

bench_app = sub_app("Benchmarks of models.")
proactive_app = sub_app("ProactiveSound-Bench: should the assistant speak up at this sound?")
bench_app.add_typer(proactive_app, name="proactive")


@proactive_app.command(
    "score",
    help="Score anyone's predictions, one JSON object {id, decision, reply} a line; missing and unreadable ones are wrong.",
    epilog="Example: soundflow bench proactive score predictions.jsonl --meta proactive_reply_benchmark.jsonl",
)
def proactive_score(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", show_default=False)],
    meta: Annotated[Path, typer.Option(help="The benchmark's metadata (.jsonl).", show_default=False)],
    as_json: Json = False,
) -> None:
    """`soundflow bench proactive score`."""
    from bench.proactive.metadata import read_predictions, read_sounds
    from bench.proactive.score import score

    sounds = read_sounds(meta)
    result = score(sounds, read_predictions(predictions, {sound.id for sound in sounds}))
    if as_json:
        say_json(result.to_json())
    else:
        for line in result.lines():
            say(line)
