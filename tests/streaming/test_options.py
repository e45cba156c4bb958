"""Options and commands of clients: whatever the server does not know is named, and other sampling rates are resampled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import soxr
from multidict import MultiDict

from soundflow.schemas.base import InputError
from soundflow.schemas.pcm16 import from_pcm16, to_pcm16
from soundflow.streaming.client import Client, play
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import ChunkSilent, SessionCreated
from soundflow.streaming.parsing import ResponseCancel, SessionClose, SessionOptions, parse_message, parse_options
from soundflow.streaming.sessions import Resampler
from tests.streaming.serving import get, noise, run, serving


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=2)
    started.start()
    yield started
    started.close()


def options(**query: str) -> SessionOptions:
    return parse_options(MultiDict(query), 0.5)


@pytest.mark.parametrize(
    ("query", "sentences"),
    [
        ("rate=48000", ("'rate': unknown option", "Options: instruction, threshold, drain, longest, remember, sample_rate")),
        ("samplerate=48000", ('Did you mean "sample_rate"?',)),
        ("Threshold=0.5", ("'Threshold': unknown option. Did you mean \"threshold\"?",)),
        ("longest_drain=3", ("unknown option",)),
        ("=1", ("'': unknown option",)),
        ("%00%1b[2J=1", ("\\x1b",)),
        ("threshold=0.1&threshold=0.9", ("threshold: is given 2 times",)),
        ("speak=yes", ("speak: is not a boolean (got 'yes')", "true or false, 1 or 0")),
        ("speak=", ("speak: is not a boolean",)),
        ("speak=on", ("speak: is not a boolean",)),
        ("speak=2", ("speak: is not a boolean",)),
        ("speak=True", ("speak: this server has no voice",)),
        ("sample_rate=7999", ("sample_rate: is invalid (got '7999')", "greater than or equal to 8000")),
        ("sample_rate=192001", ("sample_rate: is invalid", "less than or equal to 192000")),
        ("sample_rate=48k", ("sample_rate: is invalid (got '48k')",)),
        ("sample_rate=", ("sample_rate: is invalid",)),
        ("drain=0", ("drain: is invalid (got '0')",)),
        ("drain=1.5", ("drain: is invalid",)),
        ("threshold=nan", ("threshold: is invalid",)),
        ("session=x&threshold=0.5", ("session: cannot be given together with threshold",)),
    ],
)
def test_an_option_that_does_not_exist_or_makes_no_sense_is_refused_by_name(
    engine: Engine, query: str, sentences: tuple[str, ...]
) -> None:
    async def test() -> None:
        async with serving(engine) as url:
            status, text = await get(f"{url}/v1/listen?{query}")
            message = json.loads(text)["error"]["message"]
            assert status == 400 and all(sentence in message for sentence in sentences), message

    run(test)


@pytest.mark.parametrize("path", ["healthz", "metrics"])
def test_other_addresses_know_no_options_either(engine: Engine, path: str) -> None:
    async def test() -> None:
        async with serving(engine) as url:
            assert (await get(f"{url}/{path}?verbose=1"))[0] == 400 and (await get(f"{url}/{path}?token=x"))[0] == 200

    run(test)


def test_options_that_exist_are_read() -> None:
    read = options(
        threshold="0.25", drain="1", longest="9", remember="7", sample_rate="8000", speak="TRUE", instruction="Listen.", token="t"
    )
    assert (read.config.threshold, read.config.longest_drain, read.config.longest_response) == (0.25, 1, 9)
    assert (read.config.remember_tokens, read.sample_rate, read.speak, read.instruction) == (7, 8000, True, "Listen.")
    assert options() == options(speak="0") == options(speak="false") and options().config.threshold == 0.5
    assert options(session="abc", token="t").session == "abc"


def test_text_messages_are_read_strictly() -> None:
    assert parse_message('{"type": "session.close"}') == SessionClose(type="session.close")
    assert parse_message('{"type":"response.cancel"}') == ResponseCancel(type="response.cancel")
    for text, message in (
        (
            '{"type": "response.cancle"}',
            "unknown message type 'response.cancle'. Did you mean \"response.cancel\"? Types: session",
        ),
        ('{"type": "response.cancel", "chunk": 3}', "response.cancel: unknown field 'chunk'. Fields: type"),
        ('{"type": "session.close", "type": "response.cancel"}', "'type': is given 2 times"),
        ('{"type": "\\ud800"}', "unknown message type '\\ud800'"),
        ('{"type": "' + "x" * 1000 + '"}', "unknown message type 'xxx"),
    ):
        with pytest.raises(InputError) as error:
            parse_message(text)
        assert str(error.value).startswith(message) and len(str(error.value)) < 200
    for text in ("", "hello", "[]", '"session.close"', "{}", '{"type": 1}', '{"type": null}', "[" * 50_000, "{" * 9):
        with pytest.raises(ValueError) as error:
            parse_message(text)
        assert not isinstance(error.value, InputError)


def test_a_message_with_an_unknown_field_has_no_effect_and_the_session_continues(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http, http.ws_connect(f"{url}/v1/listen") as socket:
            await socket.receive()
            await socket.send_str('{"type": "session.close", "reason": "bye"}')
            error = json.loads((await socket.receive()).data)["error"]
            assert error["code"] == "bad_message" and "unknown field 'reason'. Fields: type" in error["message"]
            await socket.send_bytes(noise(0.4).tobytes())
            assert json.loads((await socket.receive()).data)["type"] == "chunk.silent"
            await socket.send_str('{"type": "session.close"}')

    run(test)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_stream_is_resampled_as_a_whole_recording_is_however_it_is_cut(rate: int) -> None:
    """A tone of 1 kHz at half scale stays one: resampled samples are compared with the formula."""
    time = np.arange(2 * rate) / rate
    pcm = to_pcm16((0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)).tobytes()
    rng, resampler, pieces, at = np.random.default_rng(1), Resampler(rate), [], 0
    while at < len(pcm):
        size = 2 * int(rng.integers(0, 3000))
        pieces.append(resampler.push(pcm[at : at + size]))
        at += size
    found = from_pcm16(b"".join(pieces))
    assert 32_000 - 0.08 * 16_000 <= len(found) <= 32_000
    middle = slice(1_000, 30_000)  # the filter has no context at the ends
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
    assert np.abs(found[middle] - expected[middle]).max() < 2e-3
    whole = soxr.resample(from_pcm16(pcm), rate, 16_000, quality="HQ")
    assert np.abs(found[middle] - whole[middle]).max() < 2 / 32_768


def test_a_client_at_another_rate_gets_the_decisions_of_the_same_sound(engine: Engine) -> None:
    """As many chunks as there is sound, with the probabilities that the recording has at 16 kHz."""
    high = to_pcm16(soxr.resample(from_pcm16(noise(4.0, seed=3)), 16_000, 48_000, quality="HQ"))
    low = to_pcm16(soxr.resample(from_pcm16(high), 48_000, 16_000, quality="HQ"))

    async def probabilities(url: str, pcm: np.ndarray, rate: int, pace: float) -> list[float]:
        async with Client.connect(url, drain=1, sample_rate=rate) as client:
            created, *events = [event async for event in play(client, pcm, pace=pace)]
        assert isinstance(created, SessionCreated)
        assert created.session.sample_rate == rate and created.session.chunk_ms == 400
        decided = [event for event in events if isinstance(event, ChunkSilent)]
        assert [event.chunk for event in decided] == list(range(1, 11))
        return [event.probability for event in decided]

    async def test() -> None:
        async with serving(engine) as url:
            expected = await probabilities(url, low, 16_000, 0)
            for pace in (0, 100):
                assert await probabilities(url, high, 48_000, pace) == pytest.approx(expected, abs=2e-3)

    run(test)
