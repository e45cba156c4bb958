"""The server over real sockets: sessions, reconnects, refusals, and clients that misbehave without harming others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from soundflow.schemas.base import InputError
from soundflow.schemas.checksums import write_sums
from soundflow.streaming import protocol
from soundflow.streaming.client import Client, play
from soundflow.streaming.connections import run as run_server
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import (
    ChunkSilent,
    ErrorEvent,
    ResponseCreated,
    ResponseDone,
    Restarted,
    SessionCreated,
    SessionResumed,
    TextDelta,
)
from soundflow.streaming.server import Server, serve
from tests.streaming.serving import SEATS, engine_chunks, get, noise, played, run, serving


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=SEATS)
    started.start()
    yield started
    started.close()


def test_a_recording_is_decided_chunk_by_chunk_and_events_are_numbered(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url:
            events = await played(url, 3.9, instruction="Name what you hear.")
            created, *silent = events
            assert isinstance(created, SessionCreated) and created.session.chunk_ms == 400
            assert created.session.instruction == "Name what you hear."
            assert {type(event) for event in silent} == {ChunkSilent}
            assert [event.chunk for event in silent] == list(range(1, 11))
            assert [event.sequence for event in events] == list(range(1, 12))
            assert all(event.latency_ms >= 0 and 0 <= event.probability <= 1 for event in silent)
            status, text = await get(f"{url}/metrics")
            assert status == 200 and 'soundflow_chunks_total{decision="silent"} 10.0' in text
            status, text = await get(f"{url}/healthz")
            assert status == 200 and json.loads(text)["ready"] is True

    run(test)


def test_a_response_arrives_in_pieces_and_as_a_whole(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url:
            events = await played(url, 0.4, threshold=0.001)
            _, created, *deltas, done = events
            assert isinstance(created, ResponseCreated) and isinstance(done, ResponseDone)
            assert {type(event) for event in deltas} == {TextDelta}
            assert done.text.startswith("".join(event.delta for event in deltas))
            assert {event.chunk for event in events[1:]} == {1}

    run(test)


@pytest.mark.parametrize("piece", [7, 333, 6400, 20_000])
def test_how_the_audio_is_cut_into_messages_does_not_matter(engine: Engine, piece: int) -> None:
    async def chances(url: str, piece: int) -> list[float]:
        pcm, found = noise(2.0, seed=7)[: 32_000 if piece > 7 else 6_400], []
        async with Client.connect(url) as client:
            for start in range(0, len(pcm), piece):
                await client.send(pcm[start : start + piece])
            async for event in client:
                if isinstance(event, ChunkSilent | ResponseCreated):
                    found.append(event.probability)
                if len(found) == len(pcm) // 6400:
                    await client.finish()
                    return found
        return found

    async def test() -> None:
        async with serving(engine) as url:
            whole = await chances(url, 6400)
            assert await chances(url, piece) == pytest.approx(whole[: 1 if piece == 7 else 5], abs=2e-4)

    run(test)


def test_a_session_is_resumed_after_a_lost_connection(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url:
            async with Client.connect(url) as client:
                events = client.__aiter__()
                name = (await anext(events)).session.id
                await client.send(noise(0.8))
                assert [(await anext(events)).chunk for _ in range(2)] == [1, 2]
                await client.send(noise(0.7))  # one chunk and a half; its events wait
            async with Client.connect(url, session=name) as client:
                await client.send(noise(0.1))
                events = []
                async for event in client:
                    events.append(event)
                    if isinstance(event, ChunkSilent) and event.chunk == 4:
                        break
                await client.finish()
            assert SessionResumed in {type(event) for event in events}
            assert [event.chunk for event in events if isinstance(event, ChunkSilent)] == [3, 4]
            sequence = [event.sequence for event in events]
            assert sequence == list(range(sequence[0], sequence[0] + len(events)))
            with pytest.raises(InputError, match="unknown session"):
                await played(url, session="gone")

    run(test)


def test_a_newer_connection_takes_the_session_over_from_one_that_is_still_there(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url, Client.connect(url) as old:
            first = old.__aiter__()
            name = (await anext(first)).session.id
            async with Client.connect(url, session=name) as new:
                events = new.__aiter__()
                assert isinstance(await anext(events), SessionResumed)
                (error,) = [event async for event in first]  # and closed
                assert isinstance(error, ErrorEvent) and error.error.code == protocol.TAKEN_OVER
                await new.send(noise(0.4))
                assert (await anext(events)).chunk == 1
                await new.finish()

    run(test)


def test_a_session_without_audio_is_ended(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.streaming.server.IDLE_SECONDS", 0.1)
    monkeypatch.setattr("soundflow.streaming.server.SWEEP_SECONDS", 0.02)

    async def test() -> None:
        async with serving(engine) as url, Client.connect(url) as client:
            _, error = [event async for event in client]  # and closed
            assert isinstance(error, ErrorEvent) and error.error.message == "no audio for 0 s: the session has ended"
            assert json.loads((await get(f"{url}/healthz"))[1])["sessions"] == 0

    run(test)


def test_a_connection_that_never_finishes_its_request_is_closed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.streaming.connections.REQUEST_SECONDS", 0.1)

    async def test() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = asyncio.create_task(run_server(Server(engine).application(), listening))
        (slow, half), (_, silent) = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        half.write(b"GET /healthz HTTP/1.1\r\nHost: ")
        async with Client.connect(f"http://127.0.0.1:{port}") as client:
            events = client.__aiter__()
            await anext(events)
            with contextlib.suppress(ConnectionError):
                assert await slow.read() == b""
            await client.send(noise(0.4))
            assert (await anext(events)).chunk == 1  # one that did is not
            await client.finish()
        for writer in (half, silent):
            writer.close()
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server
        listening.close()

    run(test)


def test_one_client_too_many_is_refused_clearly_and_a_released_slot_is_free(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url:
            opened = [Client.connect(url) for _ in range(SEATS)]
            clients = [await client.__aenter__() for client in opened]
            with pytest.raises(InputError, match=f"all {SEATS} sessions are in use"):
                await played(url)
            await clients[0].finish()
            async for _ in clients[0]:
                pass
            assert len(await played(url, 0.4)) == 2
            for client, left in zip(clients[1:], opened[1:], strict=True):
                await client.finish()
                await left.__aexit__(None, None, None)
            await opened[0].__aexit__(None, None, None)

    run(test)


def test_no_one_listens_without_the_token_nor_from_another_site(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine, token="open-sesame-12345") as url:
            with pytest.raises(InputError, match="token"):
                await played(url)
            with pytest.raises(InputError, match="SOUNDFLOW_TOKEN"):
                await played(url, token="open-sesame-1234")
            assert len(await played(url, 0.4, token="open-sesame-12345")) == 2
            assert (await get(f"{url}/metrics"))[0] == 401 and (await get(f"{url}/healthz"))[0] == 200
            assert (await get(f"{url}/metrics?token=open-sesame-12345"))[0] == 200
            foreign = {"Origin": "https://evil.example", "Authorization": "Bearer open-sesame-12345"}
            assert (await get(f"{url}/v1/listen", headers=foreign))[0] == 403

    run(test)


def test_a_port_in_use_is_reported_before_a_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="cannot listen"):
        port = taken.getsockname()[1]
        serve(tmp_path / "no model", host="127.0.0.1", port=port, sessions=1, threads=1, token=None, threshold=0.5, say=print)


def test_nothing_half_a_chunk_and_a_stream_that_comes_as_it_comes_are_played_to_their_end(engine: Engine) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        data = noise(0.8).tobytes() + b"!"
        for start in range(0, len(data), 4001):
            yield data[start : start + 4001]
            await asyncio.sleep(0)

    async def test() -> None:
        async with serving(engine) as url:
            assert [type(event) for event in await played(url, 0.0)] == [SessionCreated]
            assert len(await played(url, 0.3)) == 2
            events = await played(url, 28.0, drain=1)  # more than may wait
            assert [event.chunk for event in events if isinstance(event, ChunkSilent)] == list(range(1, 71))
            async with Client.connect(url) as client:
                assert len([event async for event in play(client, dripping())]) == 3
            with pytest.raises(InputError, match="is not the address of a server"):
                await played(url.removeprefix("http://"))

    run(test)


def test_a_public_address_needs_a_token(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="needs a token"):
        serve(checkpoint, host="0.0.0.0", port=1, sessions=1, threads=1, token=None, threshold=0.5, say=print)


@pytest.mark.parametrize("query", ["threshold=2", "threshold=x", f"instruction={'x' * 4001}"])
def test_invalid_options_are_refused_before_the_upgrade(engine: Engine, query: str) -> None:
    async def test() -> None:
        async with serving(engine) as url:
            status, text = await get(f"{url}/v1/listen?{query}")
            assert status == 400 and json.loads(text)["error"]["code"] == protocol.BAD_REQUEST

    run(test)


def test_a_server_with_a_damaged_model_reports_only_that(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes()[:5000])
    write_sums(tmp_path, ("config.json", "model.safetensors"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(InputError, match="the checkpoint is damaged"):
        serve(tmp_path, host="127.0.0.1", port=port, sessions=1, threads=1, token=None, threshold=0.5, say=print)


@pytest.mark.parametrize("instruction", ["7" * 1025, "a" * 4001, "a\udcff"])
def test_an_invalid_instruction_is_reported_before_a_model_is_loaded(tmp_path: Path, instruction: str) -> None:
    with pytest.raises(InputError, match="instruction"):
        serve(
            tmp_path,
            host="127.0.0.1",
            port=1,
            sessions=1,
            threads=1,
            token=None,
            threshold=0.5,
            say=print,
            instruction=instruction,
        )


def test_an_instruction_may_be_long_in_any_script_but_not_fill_the_context(engine: Engine) -> None:
    async def test() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(run_server(Server(engine).application(), listening))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert len(await played(url, 0.4, instruction="请告诉我你听到了什么。" * 140)) == 2
        for many in ("7" * 1025, "\U0001f986" * 4000):
            with pytest.raises(InputError, match="tokens, more than 1024"):
                await played(url, 0.4, instruction=many)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    run(test)


@pytest.mark.parametrize("option", ["threshold", "drain", "longest", "remember", "session", "speak", "sample_rate"])
def test_every_option_of_the_client_reaches_the_server(engine: Engine, option: str) -> None:
    async def test() -> None:
        async with serving(engine) as url:
            with pytest.raises(InputError, match=option):
                await played(url, **{option: -1})

    run(test)


def test_a_request_line_without_end_is_refused_and_nothing_is_logged(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = asyncio.create_task(run_server(Server(engine).application(), listening))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"400" in await reader.readline()
            writer.close()
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)

    run(test)
    assert not caplog.records


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_is_reported_to_the_client_whose_session_continues(engine: Engine, victim: int) -> None:
    async def test() -> None:
        async with serving(engine) as url, Client.connect(url) as client:
            events = client.__aiter__()
            await anext(events)
            await client.send(noise(0.4))
            assert isinstance(await anext(events), ChunkSilent)
            os.kill(engine.processes[victim], signal.SIGKILL)
            restarted = await anext(events)
            assert isinstance(restarted, Restarted) and restarted.lost == 0 and ("encoder", "decoder")[victim] in restarted.died
            await client.send(noise(0.4))
            assert isinstance(await anext(events), ChunkSilent)
            await client.finish()

    run(test)


def test_a_recording_ends_though_chunks_of_it_were_lost_with_a_worker(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url, Client.connect(url) as client:

            async def kill_when_all_is_sent() -> None:
                while engine_chunks(engine) < 5:
                    await asyncio.sleep(0.01)
                os.kill(engine.processes[1], signal.SIGKILL)

            os.kill(engine.processes[1], signal.SIGSTOP)
            events = []
            async for event in play(client, noise(2.0), pace=0):
                events.append(event)
                if len(events) == 1:
                    killing = asyncio.create_task(kill_when_all_is_sent())
            await killing
            assert [type(event) for event in events] == [SessionCreated, Restarted] and events[1].lost == 5
            _, text = await get(f"{url}/metrics")
            assert "soundflow_dropped_chunks_total 5.0" in text

    run(test)
