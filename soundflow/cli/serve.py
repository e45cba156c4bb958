"""`soundflow serve` and `soundflow listen`: a model that is always on, and someone who talks to it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import typer

from soundflow.cli.common import INTERRUPTED, Json, say

top = typer.Typer()
TOKEN = "SOUNDFLOW_TOKEN"


@top.command(
    help="Serve a checkpoint: many streams at once over WebSockets, and a page to try it. $SOUNDFLOW_TOKEN is asked of clients.",
    epilog="Example: soundflow serve --model runs/learn/model --port 8765",
)
def serve(
    model: Annotated[Path, typer.Option(help="A checkpoint made by `soundflow train`.", show_default=False)],
    host: Annotated[str, typer.Option(help="An address others can reach needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8765,
    sessions: Annotated[int, typer.Option(min=1, max=256, help="Streams at once; more are refused.")] = 8,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each of the two processes.")] = 1,
    threshold: Annotated[float, typer.Option(min=0.001, max=0.999, help="Respond from this probability on.")] = 0.5,
    instruction: Annotated[str | None, typer.Option(help="Of clients that give none: one the model was trained with.")] = None,
    speak: Annotated[str | None, typer.Option(metavar="VOICE", help="Say responses aloud to clients that ask for it.")] = None,
    speech: Annotated[Path | None, typer.Option(metavar="FILE", help="Speakers other than hibari and kokoro (YAML).")] = None,
) -> None:
    """`soundflow serve`."""
    from pydantic import SecretStr

    from soundflow import prompts
    from soundflow.schemas.base import InputError, Interrupted
    from soundflow.schemas.speech import SpeechConfig
    from soundflow.streaming.server import serve as run
    from soundflow.streaming.speaking import Voices

    if speech is not None and speak is None:
        raise InputError("nobody is told to speak", field="--speech", value=speech, remedy="Name a voice with --speak")
    voices = None if speak is None else Voices(speak, None if speech is None else SpeechConfig.from_yaml(speech))

    token = os.environ.get(TOKEN)
    secret = SecretStr(token) if token else None
    try:
        run(
            model,
            host=host,
            port=port,
            sessions=sessions,
            threads=threads,
            token=secret,
            threshold=threshold,
            say=say,
            instruction=instruction or prompts.variants("instruction_event_description")[0],
            voices=voices,
        )
    except Interrupted:
        typer.echo("stopped: every session was closed, both processes have ended", err=True)
        raise typer.Exit(INTERRUPTED) from None


@top.command(
    help="Play a recording to a server in real time and print what it decides. `-` is PCM16 at 16 kHz on stdin, as it comes.",
    epilog="Example: soundflow listen kitchen.wav --instruction 'Tell me what you hear.'",
)
def listen(
    source: Annotated[str, typer.Argument(metavar="FILE", show_default=False)],
    url: Annotated[str, typer.Option(help="Where `soundflow serve` listens.")] = "http://127.0.0.1:8765",
    instruction: Annotated[str | None, typer.Option(help="What the model is told first.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Instead of the server's.")] = None,
    drain: Annotated[int | None, typer.Option(min=1, help="Chunks read at once at most; 1: timing changes nothing.")] = None,
    remember: Annotated[int | None, typer.Option(min=0, help="Text tokens of what it said long ago that it still reads.")] = None,
    pace: Annotated[float, typer.Option(min=0, help="Times real time; 0 is as fast as it goes.")] = 1.0,
    aloud: Annotated[Path | None, typer.Option(metavar="WAV", help="Let it speak, and keep what is heard.")] = None,
    as_json: Json = False,
) -> None:
    """`soundflow listen`."""
    from soundflow.schemas.base import InputError, Interrupted

    audio = _audio(source)
    if aloud is not None and (aloud.is_dir() or not aloud.parent.is_dir()):
        raise InputError("is no place for a WAV file", file=aloud, field="--aloud")
    spoken: list[tuple[float, Any]] = []
    heard: Counter[str] = Counter()
    options: dict[str, Any] = {"instruction": instruction, "threshold": threshold, "drain": drain}
    options |= {"remember": remember, "speak": aloud is not None}
    try:
        asyncio.run(_listen(audio, url, options, pace, as_json, spoken, heard))
    except InputError:  # nobody listened: what is in the file stays
        aloud = None
        raise
    except ConnectionError as lost:
        typer.echo(f"error: the server closed the connection: {lost}", err=True)
        raise typer.Exit(1) from None
    except Interrupted:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if aloud is not None:
            _keep(aloud, spoken)
        if heard and not as_json:
            say(_summary(heard))


def _summary(heard: Counter[str]) -> str:
    """One line about all that was decided."""
    silent, responses = heard["chunk.silent"], heard["response.created"]
    chunks = silent + responses
    said = f"{responses} responses" if responses else "nothing to respond to"
    return f"heard {chunks} chunks ({chunks * 0.4:.1f} s): {said}"


def _keep(path: Path, spoken: list[tuple[float, Any]]) -> None:
    """Write what was said on the session's line of time."""
    import numpy as np
    import soundfile

    from soundflow.schemas import constants as c
    from soundflow.schemas.base import InputError

    parts, end = [np.zeros(0, np.int16)], 0
    for time, samples in spoken:
        silence = max(round(time * c.SAMPLE_RATE) - end, 0)
        parts += [np.zeros(silence, np.int16), samples]
        end += silence + len(samples)
    try:
        soundfile.write(path, np.concatenate(parts), c.SAMPLE_RATE, subtype="PCM_16", format="WAV")
    except (OSError, RuntimeError) as wrong:  # soundfile's errors are RuntimeErrors
        raise InputError(f"cannot be written: {wrong}", file=path, field="--aloud") from None


def _audio(source: str) -> Any:
    """Samples of a recording; what comes on stdin, as it comes."""
    if source == "-":
        return _stdin()
    from soundflow.operators.clean.ingress import read_audio
    from soundflow.schemas.base import InputError
    from soundflow.schemas.outcome import Ok
    from soundflow.schemas.pcm16 import to_pcm16

    found = read_audio(Path(source))
    if not isinstance(found, Ok):
        raise InputError(f"cannot be used: {getattr(found, 'reason', found)}", file=source, remedy="Name a recording")
    return to_pcm16(found.value.samples)


async def _stdin() -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(os.read, sys.stdin.fileno(), 3200):
        yield piece


async def _listen(
    audio: Any,
    url: str,
    options: dict[str, Any],
    pace: float,
    as_json: bool,
    spoken: list[tuple[float, Any]],
    heard: Counter[str],
) -> None:
    from soundflow.streaming.client import Client, play
    from soundflow.streaming.speaking import pcm_of

    token = os.environ.get(TOKEN)
    async with Client.connect(url, token=token, **options) as client:
        async for event in play(client, audio, pace=pace):
            heard[event["type"]] += 1
            if event["type"] == "response.output_audio.delta":
                spoken.append((event["time"], pcm_of(event)))
            if as_json:
                say(json.dumps(event, ensure_ascii=False))
            elif line := _line(event):
                say(line)


def _line(event: dict[str, Any]) -> str:
    """An event for people; empty for those that say nothing new."""
    match event["type"]:
        case "session.created":
            return f"session {event['session']['id']}: {event['session']['instruction']}"
        case "response.created":
            at = event["chunk"] * 0.4
            called = f"to chunk {event['called_by']} " if event["called_by"] != event["chunk"] else ""
            figures = f"p = {event['called_with']:.2f}, {event['latency_ms']:.0f} ms"
            return f"{at:7.1f} s  chunk {event['chunk']}: responds {called}({figures})"
        case "response.done":
            return f"           {event['text']!r}{' (cut)' if event['cut'] else ''}"
        case "input_audio.dropped":
            return f"           {event['chunks']} chunks dropped"
        case "session.restarted":
            return f"           restarted: {', '.join(event['died'])} died; the memory is empty, {event['lost']} chunks are lost"
        case "error":
            return f"error: {event['error']['message']}"
    return ""
