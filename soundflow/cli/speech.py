"""`soundflow say`, `hear` and `speak`: text becomes verified speech."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import FAILED, INCOMPLETE, Executor, ExecutorName, Json, MaybeLlmOf, say_json
from soundflow.cli.common import say as tell

top = typer.Typer()

Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="YAML: speakers, voices, recogniser, gate (soundflow.schemas.speech.SpeechConfig).",
        show_default=False,
    ),
]


@top.command(
    help="Speak a text in one voice and write a 16 kHz WAV; the text is rewritten as it is spoken first.",
    epilog='Example: soundflow say "The train leaves at 7:30." --voice hibari:heart -o x.wav --check',
)
def say(
    text: Annotated[str, typer.Argument(show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The WAV file.", show_default=False)],
    voice: Annotated[str | None, typer.Option(help="BACKEND:ID; default: the first of the pool.")] = None,
    language: Annotated[str | None, typer.Option(help="Of the text; default: the voice's.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    speed: Annotated[float, typer.Option(min=0.5, max=2.0)] = 1.0,
    raw: Annotated[bool, typer.Option(help="Speak the text as it is written.")] = False,
    check: Annotated[bool, typer.Option(help="Put it through the gate; exit 1 when it does not pass.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """`soundflow say`."""
    from soundflow.pipeline.speech.speak_once import say_once

    said = say_once(
        text, out, config=config, voice=voice, language=language, seed=seed, speed=speed, rewrite=not raw, check=check
    )
    if as_json:
        say_json(said.to_json())
    else:
        for line in said.lines():
            tell(line)
    if said.refused:
        raise typer.Exit(FAILED)


@top.command(
    help="Write down what is said in a recording; with --align also when each word is.",
    epilog="Example: soundflow hear x.wav --align --json",
)
def hear(
    recording: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    align: Annotated[bool, typer.Option(help="Times of every word, in seconds.")] = False,
    language: Annotated[str, typer.Option(help="Such as en or zh.")] = "en",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """`soundflow hear`."""
    from soundflow.pipeline.speech.speak_once import hear_once

    heard = hear_once(recording, align=align, language=language, config=config)
    if as_json:
        say_json(heard.to_json())
    else:
        for line in heard.lines():
            tell(line)


@top.command(
    help="Speak dialogues (JSON lines: id, turns of user and assistant) and keep what the gate understood; run again to resume.",
    epilog="Example: soundflow speak dialogues.jsonl --out spoken/ && soundflow clips index spoken/ -o clips/",
)
def speak(
    dialogues: Annotated[Path, typer.Argument(metavar="DIALOGUES", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Output directory; its manifest is a source of clips.")],
    config: Config = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Recognisers, one core each; default: every core.")] = None,
    executor: Executor = ExecutorName.RAY,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster: auto, HOST:PORT or ray://HOST:PORT; default: this machine.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Move an older output out of the way first (never deletes).")] = False,
    as_json: Json = False,
) -> None:
    """`soundflow speak`."""
    from soundflow.operators.protocols.faults import BackendError
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.speech.speak import SpeakProgress, speak
    from soundflow.pipeline.speech.speak_once import read_config

    with Console("speak", "dialogues") as console:

        def show(event: SpeakProgress) -> None:
            console.show(event.done, event.pending, event.describe())

        try:
            settings = read_config(config)
            summary = speak(
                dialogues,
                out,
                settings,
                executor=executor.value,
                workers=workers,
                address=address,
                fresh=fresh,
                on_event=show,
            )
        except BackendError as error:
            typer.echo(f"stopped: {error}. Committed work is intact; run the same command again to resume", err=True)
            raise typer.Exit(INCOMPLETE) from None
    if as_json:
        say_json(summary.to_json())
    else:
        for line in summary.lines():
            tell(line)
    if summary.failed:
        raise typer.Exit(INCOMPLETE)


@top.command(
    help="Give written dialogues a question about an earlier turn, before they are spoken. A model writes it and tries it out: "
    "with all turns it must be answered, without the turn it depends on it must not. Without a model a stand-in that says so.",
    epilog="Example: soundflow review dialogues.jsonl -o reviewed.jsonl --llm corpus.yaml",
)
def review(
    dialogues: Annotated[Path, typer.Argument(metavar="DIALOGUES.jsonl", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The dialogues again, some of them longer.", show_default=False)],
    llm: MaybeLlmOf = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of dialogues of four turns or more (paper: p_hr).")] = 0.3,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Json = False,
) -> None:
    """`soundflow review`."""
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.services.ask_once import read_llm
    from soundflow.pipeline.speech.review import review_dialogues

    config = read_llm(llm) if llm else None
    with Console("review", "dialogues") as console:
        told = review_dialogues(dialogues, out, config, share=share, seed=seed, on_done=console.show)
    if as_json:
        say_json(told.to_json())
    else:
        for line in told.lines():
            tell(line)
    if told.failed:
        raise typer.Exit(INCOMPLETE)
