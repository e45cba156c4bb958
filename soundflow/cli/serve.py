"""`soundflow serve` and `soundflow listen`: the server of a streaming model and a client for recordings."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, assert_never

import typer

from soundflow.cli.common import INTERRUPTED, Json, say

if TYPE_CHECKING:
    from soundflow.streaming.events import Event

top = typer.Typer()
TOKEN = "SOUNDFLOW_TOKEN"


@top.command(
    help="Serve a checkpoint to many concurrent streams over WebSockets, with a web page to try it. "
    "Clients must send the token in $SOUNDFLOW_TOKEN if it is set; it has at least 16 characters.",
    epilog="Example: soundflow serve --model runs/learn/seed-0/cpu-4/model --port 8765",
)
def serve(
    model: Annotated[Path, typer.Option(help="Directory of a checkpoint made by `soundflow train`.", show_default=False)],
    host: Annotated[str, typer.Option(help="Address to listen on. Any but a local address requires a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port to listen on.")] = 8765,
    sessions: Annotated[int, typer.Option(min=1, max=256, help="Maximum number of concurrent sessions; more are refused.")] = 8,
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads of each of the two processes.")] = 1,
    threshold: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="Minimum probability at which the model responds.")
    ] = 0.5,
    instruction: Annotated[
        str | None, typer.Option(help="Instruction for clients that send none (default: one that the model was trained with).")
    ] = None,
    speak: Annotated[
        str | None, typer.Option(metavar="VOICE", help="Voice that speaks responses to clients that request audio, BACKEND:ID.")
    ] = None,
    speech: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Speech configuration (YAML) for speakers other than hibari and kokoro.")
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate chain (PEM) to serve HTTPS and wss:// with (default: no TLS)."),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Private key (PEM) of --tls-cert.")] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="IP address of a reverse proxy whose X-Forwarded-For names the client; may be repeated (default: none).",
        ),
    ] = None,
    stall_seconds: Annotated[
        float, typer.Option(min=1, help="Replace a worker process that has not responded for this many seconds.")
    ] = 10.0,
) -> None:
    """Run `soundflow serve`."""
    from pydantic import SecretStr

    from soundflow import prompts
    from soundflow.schemas.base import InputError, Interrupted
    from soundflow.schemas.speech import SpeechConfig
    from soundflow.streaming.server import serve as run
    from soundflow.streaming.speaking import Voices

    if speech is not None and speak is None:
        raise InputError("no voice is given", field="--speech", value=speech, remedy="Name a voice with --speak")
    if (tls_cert is None) != (tls_key is None):
        raise InputError("--tls-cert and --tls-key belong together", remedy="Give both files, or neither")
    for address in trusted_proxy or ():
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InputError("is not an IP address", field="--trusted-proxy", value=address) from None
    voices = None if speak is None else Voices(speak, None if speech is None else SpeechConfig.from_yaml(speech))

    token = os.environ.get(TOKEN)
    secret = None if token is None else SecretStr(token)
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
            proxies=trusted_proxy or (),
            tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
            stall_seconds=stall_seconds,
        )
    except Interrupted:
        typer.echo("stopped: all sessions are closed and both processes have ended", err=True)
        raise typer.Exit(INTERRUPTED) from None


@top.command(
    help="Play a recording to a server in real time and print its decisions.",
    epilog="Example: soundflow listen kitchen.wav --instruction 'Tell me what you hear.'",
)
def listen(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="Audio file, or - for live PCM16, mono, on stdin.", show_default=False)
    ],
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8765",
    instruction: Annotated[
        str | None, typer.Option(help="Instruction for the model (default: the instruction of the server).")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Minimum probability at which the model responds (default: the threshold of the server).")
    ] = None,
    drain: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of chunks read at once; 1 makes the result independent of timing.")
    ] = None,
    remember: Annotated[
        int | None, typer.Option(min=0, help="Number of text tokens of earlier responses that the model keeps beyond its window.")
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            min=8000, max=192_000, help="Sampling rate of PCM16 on stdin in Hz; files bring their own (default: 16000)."
        ),
    ] = None,
    pace: Annotated[
        float, typer.Option(min=0, help="Playback speed as a multiple of real time; 0 plays as fast as possible.")
    ] = 1.0,
    aloud: Annotated[
        Path | None, typer.Option(metavar="WAV", help="Request spoken responses and write them to this WAV file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow listen`."""

    from soundflow.schemas.base import InputError, Interrupted
    from soundflow.streaming.signals import run_until_stopped

    if sample_rate is not None and source != "-":
        raise InputError("applies only to PCM16 on stdin (FILE is -)", field="--sample-rate", value=sample_rate, remedy="Omit it")
    audio = _audio(source)
    if aloud is not None and (aloud.is_dir() or not aloud.parent.is_dir()):
        raise InputError(
            "the WAV file cannot be created here", file=aloud, field="--aloud", remedy="Name a file in an existing folder"
        )
    spoken: list[tuple[float, Any]] = []
    counts: Counter[str] = Counter()
    options: dict[str, Any] = {"instruction": instruction, "threshold": threshold, "drain": drain}
    options |= {"remember": remember, "speak": aloud is not None, "sample_rate": sample_rate}
    try:
        run_until_stopped(_listen(audio, url, options, pace, as_json, spoken, counts))
    except InputError:  # no session was opened: keep the contents of the file
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
        if counts and not as_json:
            say(_summary(counts))


def _summary(counts: Counter[str]) -> str:
    """Return one line that sums up all decisions."""
    silent, responses = counts["chunk.silent"], counts["response.created"]
    chunks = silent + responses
    return f"{chunks} chunks ({chunks * 0.4:.1f} s), {responses} responses"


def _keep(path: Path, spoken: list[tuple[float, Any]]) -> None:
    """Write the spoken responses at their times in the session."""
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
    """Return the samples of a recording, or an iterator over stdin."""
    if source == "-":
        return _stdin()
    from soundflow.operators.clean.ingress import read_audio
    from soundflow.schemas.base import InputError
    from soundflow.schemas.outcome import Ok
    from soundflow.schemas.pcm16 import to_pcm16

    found = read_audio(Path(source))
    if not isinstance(found, Ok):
        raise InputError(f"cannot be used: {getattr(found, 'reason', found)}", file=source, remedy="Name an audio file")
    return to_pcm16(found.value.samples)


async def _stdin() -> AsyncIterator[bytes]:
    import asyncio

    while piece := await asyncio.to_thread(os.read, sys.stdin.fileno(), 3200):
        yield piece


async def _listen(
    audio: Any,
    url: str,
    options: dict[str, Any],
    pace: float,
    as_json: bool,
    spoken: list[tuple[float, Any]],
    counts: Counter[str],
) -> None:
    from soundflow.streaming.client import Client, play
    from soundflow.streaming.events import AudioDelta

    token = os.environ.get(TOKEN)
    async with Client.connect(url, token=token, **options) as client:
        async for event in play(client, audio, pace=pace):
            counts[event.type] += 1
            if isinstance(event, AudioDelta):
                spoken.append((event.time or 0.0, event.samples()))
            if as_json:
                say(json.dumps(event.to_wire(), ensure_ascii=False))
            elif line := _line(event):
                say(line)


def _line(event: Event) -> str:
    """Return an event as text; empty for events that are not shown."""
    from soundflow.streaming import events

    match event:
        case events.SessionCreated():
            return f"session {event.session.id}: {event.session.instruction}"
        case events.ResponseCreated():
            called = f"to chunk {event.called_by} " if event.called_by != event.chunk else ""
            figures = f"p = {event.called_with:.2f}, {event.latency_ms:.0f} ms"
            return f"{event.chunk * 0.4:7.1f} s  chunk {event.chunk}: responds {called}({figures})"
        case events.ResponseDone():
            return f"           {event.text!r}{' (cut)' if event.cut else ''}"
        case events.AudioDropped():
            return f"           {event.chunks} chunks dropped"
        case events.Restarted():
            return f"           restarted: {', '.join(event.died)} died; the context is empty, {event.lost} chunks are lost"
        case events.ErrorEvent():
            return f"error: {event.error.message}"
        case events.ChunkSilent() | events.TextDelta() | events.Reanchored() | events.SessionResumed():
            return ""
        case events.AudioDelta() | events.AudioDone():
            return ""
        case _:
            assert_never(event)
