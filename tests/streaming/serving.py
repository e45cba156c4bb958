"""A server on a real socket for tests, and what its clients need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from soundflow.streaming.client import Client, play
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import Event
from soundflow.streaming.server import Server

SEATS = 3
RATE = 16_000


@asynccontextmanager
async def serving(engine: Engine, token: str | None = None, threshold: float = 0.999) -> AsyncIterator[str]:
    server = TestServer(Server(engine, SecretStr(token) if token else None, threshold).application())
    await server.start_server()
    try:
        yield str(server.make_url("/")).rstrip("/")
    finally:
        await server.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 600))  # against hanging for ever


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * 1000).astype(np.int16)


async def played(url: str, seconds: float = 2.0, **more: Any) -> list[Event]:
    """The events of one session that plays noise."""
    async with Client.connect(url, **more) as client:
        return [event async for event in play(client, noise(seconds), pace=0)]


async def get(url: str, **more: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(url, **more) as answer:
        return answer.status, await answer.text()


def engine_chunks(engine: Engine) -> int:
    """Chunks pushed by the oldest open session."""
    return min(engine._sessions.values(), key=lambda session: session.epoch).number
