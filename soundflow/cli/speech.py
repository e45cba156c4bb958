"""`soundflow say`, `hear`, `speak` and `review`: text becomes verified speech."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import FAILED, INCOMPLETE, Executor, ExecutorName, Json, MaybeLlmOf, RayAddress, Seed, say_json
from soundflow.cli.common import say as print_line

top = typer.Typer()

Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Speech configuration (YAML): speakers, voices, recogniser and gate; see `soundflow schema speech`.",
        show_default=False,
    ),
]

Pronunciations = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Pronunciation list for names, one `word,spoken as` per row, such as `Nguyen,win`. Transcripts keep the word, and "
        "the gate accepts either.",
        show_default=False,
    ),
]


@top.command(
    help="Speak a text in one voice and write a 16 kHz WAV file. Numbers and symbols are first rewritten as words.",
    epilog='Example: soundflow say "The train leaves at 7:30." --voice hibari:heart -o x.wav --check',
)
def say(
    text: Annotated[str, typer.Argument(help="Text to speak.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="WAV file to write.", show_default=False)],
    voice: Annotated[str | None, typer.Option(help="Voice, BACKEND:ID (default: the first of the configuration).")] = None,
    language: Annotated[str | None, typer.Option(help="Language code of the text (default: the language of the voice).")] = None,
    seed: Seed = 0,
    speed: Annotated[float, typer.Option(min=0.5, max=2.0, help="Speed as a multiple of the normal pace of the voice.")] = 1.0,
    raw: Annotated[bool, typer.Option(help="Skip the rewriting of numbers and symbols.")] = False,
    check: Annotated[bool, typer.Option(help="Check the speech with the gate. Exit code 1: the gate rejects it.")] = False,
    config: Config = None,
    pronunciations: Pronunciations = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow say`."""
    from soundflow.pipeline.speech.speak_once import say_once

    utterance = say_once(
        text,
        out,
        config=config,
        pronunciations=pronunciations,
        voice=voice,
        language=language,
        seed=seed,
        speed=speed,
        rewrite=not raw,
        check=check,
    )
    if as_json:
        say_json(utterance.to_json())
    else:
        for line in utterance.lines():
            print_line(line)
    if utterance.refused:
        raise typer.Exit(FAILED)


@top.command(
    help="Transcribe a recording, with word times if --align is given.",
    epilog="Example: soundflow hear x.wav --align --json",
)
def hear(
    recording: Annotated[Path, typer.Argument(metavar="FILE", help="Audio file to transcribe.", show_default=False)],
    align: Annotated[bool, typer.Option(help="Print the start and end of every word in seconds.")] = False,
    language: Annotated[str, typer.Option(help="Language code of the recording, such as en or zh.")] = "en",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow hear`."""
    from soundflow.pipeline.speech.speak_once import hear_once

    transcript = hear_once(recording, align=align, language=language, config=config)
    if as_json:
        say_json(transcript.to_json())
    else:
        for line in transcript.lines():
            print_line(line)


@top.command(
    help="Speak written dialogues and keep the utterances that pass the gate. Run the same command again to resume.",
    epilog="Example: soundflow speak dialogues.jsonl --out spoken/ && soundflow clips index spoken/ -o clips/",
)
def speak(
    dialogues: Annotated[
        Path,
        typer.Argument(
            metavar="DIALOGUES",
            help="Dialogues, one JSON object per line: id and turns of user and assistant.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Output directory. `soundflow clips index` reads its manifest.", show_default=False),
    ],
    config: Config = None,
    pronunciations: Pronunciations = None,
    keep_rejected: Annotated[
        bool,
        typer.Option(
            "--keep-rejected",
            help="Keep the takes that the gate rejects in this run: WAV files in OUT/rejected, each with a JSON file that has "
            "the text, the transcript and the reason.",
        ),
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of recognisers, one core each (default: one per core).")
    ] = None,
    executor: Executor = ExecutorName.RAY,
    address: RayAddress = None,
    fresh: Annotated[bool, typer.Option(help="Rename an existing output directory and start again.")] = False,
    as_json: Json = False,
) -> None:
    """Run `soundflow speak`."""
    from soundflow.operators.protocols.faults import BackendError
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.speech.speak import SpeakProgress, speak
    from soundflow.pipeline.speech.speak_once import read_config

    with Console("speak", "dialogues") as console:

        def show(event: SpeakProgress) -> None:
            console.show(event.done, event.pending, event.describe())

        try:
            settings = read_config(config, pronunciations)
            summary = speak(
                dialogues,
                out,
                settings,
                executor=executor.value,
                workers=workers,
                address=address,
                fresh=fresh,
                keep_rejected=keep_rejected,
                on_event=show,
            )
        except BackendError as error:
            typer.echo(f"stopped: {error}. Committed work is intact; run the same command again to resume", err=True)
            raise typer.Exit(INCOMPLETE) from None
    if as_json:
        say_json(summary.to_json())
    else:
        for line in summary.lines():
            print_line(line)
    if summary.failed:
        raise typer.Exit(INCOMPLETE)


@top.command(
    help="Append a question about an earlier turn to written dialogues. A language model writes the question and verifies it: it "
    "must be answerable with all turns, and not without the turn that it depends on. If no model is given, the question is a "
    "marked placeholder.",
    epilog="Example: soundflow review dialogues.jsonl -o reviewed.jsonl --llm corpus.yaml",
)
def review(
    dialogues: Annotated[Path, typer.Argument(metavar="DIALOGUES.jsonl", help="Written dialogues (.jsonl).", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Output file with all dialogues, with or without an added question.", show_default=False
        ),
    ],
    llm: MaybeLlmOf = None,
    share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the dialogues with four or more turns that get a question (paper: p_hr)."),
    ] = 0.3,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run `soundflow review`."""
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.services.ask_once import read_llm
    from soundflow.pipeline.speech.review import review_dialogues

    config = read_llm(llm) if llm else None
    with Console("review", "dialogues") as console:
        summary = review_dialogues(dialogues, out, config, share=share, seed=seed, on_done=console.show)
    if as_json:
        say_json(summary.to_json())
    else:
        for line in summary.lines():
            print_line(line)
    if summary.failed:
        raise typer.Exit(INCOMPLETE)
