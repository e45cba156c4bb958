"""Spoken responses: sentence by sentence, in order, stoppable at any moment, and never a reason for the text to fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from aiohttp.test_utils import TestServer

from soundflow.operators.protocols.faults import BackendError
from soundflow.schemas.base import InputError
from soundflow.streaming.client import Client, play
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import (
    AudioDelta,
    AudioDone,
    ErrorEvent,
    Event,
    ResponseCreated,
    ResponseDone,
    Restarted,
    SessionCreated,
    TextDelta,
)
from soundflow.streaming.server import Server
from soundflow.streaming.speaking import PIECE_SAMPLES, Speech, Voices

VOICE = "hibari:heart"


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=2)
    started.start()
    yield started
    started.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 600))


def write(speech: Speech, chunk: int, text: str, done: bool = True) -> None:
    """A response, three letters at a time."""
    speech.follow(ResponseCreated(chunk=chunk, probability=0.9, called_by=chunk, called_with=0.9))
    for at in range(0, len(text), 3):
        speech.follow(TextDelta(chunk=chunk, delta=text[at : at + 3]))
    if done:
        speech.follow(ResponseDone(chunk=chunk, text=text))


async def over(events: list[Event], count: int = 1) -> None:
    while sum(isinstance(event, AudioDone) for event in events) < count:
        await asyncio.sleep(0.005)


def kinds(events: list[Event]) -> list[tuple[str, bool | None]]:
    return [(event.type.rpartition(".")[2], getattr(event, "stopped", None)) for event in events]


def test_sentences_are_spoken_in_order_before_the_text_ends(pool: ThreadPoolExecutor) -> None:
    async def test() -> None:
        sentences: list[str] = []
        first = threading.Event()

        def speak(text: str) -> bytes:
            sentences.append(text)
            first.set()
            return len(sentences).to_bytes(2, "little") * (PIECE_SAMPLES + 1)

        events: list[Event] = []
        speech = Speech(speak, pool, events.append, lambda: True)
        write(speech, 3, "A dog barks. It is near! Watch", done=False)
        await asyncio.to_thread(first.wait)
        assert sentences[0] == "A dog barks." and speech.speaking
        speech.follow(TextDelta(chunk=3, delta=" out"))
        speech.follow(ResponseDone(chunk=3, text="A dog barks. It is near! Watch out"))
        await over(events)
        assert sentences == ["A dog barks.", "It is near!", "Watch out"]
        assert kinds(events) == [("delta", None)] * 6 + [("done", False)]
        pieces = [set(event.samples().tolist()) for event in events if isinstance(event, AudioDelta)]
        assert pieces == [{1}, {1}, {2}, {2}, {3}, {3}]
        assert not speech.speaking

    run(test)


@pytest.mark.parametrize("how", ["stop", "another response", "restarted"])
def test_an_interrupted_response_sends_no_more_audio(pool: ThreadPoolExecutor, how: str) -> None:
    async def test() -> None:
        begun, go_on = threading.Event(), threading.Event()

        def speak(text: str) -> bytes:
            begun.set()
            go_on.wait()
            return text[:2].encode() * 10

        events: list[Event] = []
        speech = Speech(speak, pool, events.append, lambda: True)
        write(speech, 1, "AA one. AA two.")
        await asyncio.to_thread(begun.wait)
        match how:
            case "stop":
                speech.stop()
            case "another response":
                write(speech, 2, "BB one.")
            case "restarted":
                speech.follow(Restarted(died=("decoder",), chunk=1, lost=0))
        assert kinds(events) == [("done", True)] and events[0].chunk == 1
        go_on.set()
        if how == "another response":
            await over(events, 2)
            assert kinds(events[1:]) == [("delta", None), ("done", False)] and {event.chunk for event in events[1:]} == {2}
        else:
            speech.stop()  # once more: nothing happens
            write(speech, 5, "CC.")
            await over(events, 2)
            assert {event.chunk for event in events[1:]} == {5}

    run(test)


def test_a_voice_that_fails_is_reported_and_the_rest_is_spoken_a_client_that_takes_nothing_gets_no_audio(
    pool: ThreadPoolExecutor,
) -> None:
    async def test() -> None:
        def speak(text: str) -> bytes:
            if "two" in text:
                raise BackendError("out of voice")
            return b"\0\0"

        events: list[Event] = []
        write(Speech(speak, pool, events.append, lambda: True), 1, "One. And two. Three.")
        await over(events)
        failure = events[1]
        assert isinstance(failure, ErrorEvent) and failure.error.code == "speech_failed"
        assert "out of voice" in failure.error.message and kinds(events)[-1] == ("done", False) and len(events) == 4
        away: list[Event] = []
        write(Speech(speak, pool, away.append, lambda: False), 1, "One.")
        await over(away)
        assert kinds(away) == [("done", True)]

    run(test)


def test_a_voice_that_is_not_here_is_named_and_a_server_without_one_says_so(engine: Engine) -> None:
    with pytest.raises(InputError, match="unknown voice"):
        Voices("hibari:nobody")

    async def test() -> None:
        server = TestServer(Server(engine).application())
        await server.start_server()
        try:
            with pytest.raises(InputError, match="this server has no voice"):
                async with Client.connect(str(server.make_url("/")), speak=True):
                    pass
        finally:
            await server.close()

    run(test)


@pytest.mark.usefixtures("sayable")
def test_a_real_voice_speaks_to_clients_that_request_it_and_stops_when_interrupted(engine: Engine) -> None:
    voices = Voices(VOICE)

    async def test() -> None:
        server = TestServer(Server(engine, voices=voices).application())
        await server.start_server()
        url, pcm = str(server.make_url("/")), np.zeros(6400, np.int16)
        try:
            async with Client.connect(url, threshold=0.001, longest=2) as client:
                assert not any("audio" in event.type for event in [event async for event in play(client, pcm, pace=0)])
            async with Client.connect(url, threshold=0.001, longest=2, speak=True) as client:
                events = [event async for event in play(client, pcm, pace=0)]
            assert isinstance(events[0], SessionCreated) and events[0].session.speaks and isinstance(events[-1], AudioDone)
            spoken = np.concatenate([event.samples() for event in events if isinstance(event, AudioDelta)])
            assert len(spoken) > 8000 and np.abs(spoken).max() > 1000
            async with Client.connect(url, threshold=0.001, longest=1000, speak=True) as client:
                await client.send(pcm)
                async for event in client:
                    if isinstance(event, TextDelta):
                        await client.interrupt()
                        break
                rest = []
                async for event in client:
                    rest.append(event)
                    if isinstance(event, ResponseDone):
                        break
                assert rest[-1].cut and next(event for event in rest if isinstance(event, AudioDone)).stopped
                await client.finish()
        finally:
            await server.close()
            voices.close()

    run(test)
