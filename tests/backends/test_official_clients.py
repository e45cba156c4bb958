"""Our requests against those of the official client of ElevenLabs: the same path, query, key and body reach the server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from soundflow.backends.sounds.elevenlabs import URL
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.generators import open_generator
from soundflow.schemas.generation import GenerationConfig
from tests.support.hostile_sounds import HostileSounds

KEY = "sk-proj-d34db33fd34db33fd34db33f"


def test_sounds_are_requested_as_the_elevenlabs_client_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("elevenlabs.client")
    monkeypatch.setenv("SOUND_API_KEY", KEY)

    async def ours(settings: GenerationConfig) -> None:
        async with open_generator(settings, AnswerCache(tmp_path)) as generator:
            assert generator is not None
            await generator.generate("A dog barks twice", (2.5, 2.5), 1)

    with HostileSounds() as server, httpx.Client() as http:
        asyncio.run(ours(server.config("elevenlabs", prompt_influence=0.7)))
        official = client.ElevenLabs(api_key=KEY, base_url=server.url, httpx_client=http).text_to_sound_effects
        sound = official.convert(
            text="A dog barks twice",
            duration_seconds=2.5,
            model_id="eleven_text_to_sound_v2",
            output_format="wav_16000",
            prompt_influence=0.7,
        )
        assert b"".join(sound)[:4] == b"RIFF"
        default = client.ElevenLabs(api_key=KEY, httpx_client=http)._client_wrapper.get_base_url()
    first, second = map(essence, server.requests)
    assert first == second and default == URL


def essence(request: dict[str, Any]) -> list[Any]:
    """What a server acts on."""
    headers = {name: request["headers"][name] for name in ("xi-api-key", "content-type")}
    return [request["path"], request["query"], headers, json.dumps(request["body"], sort_keys=True)]
