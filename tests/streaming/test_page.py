"""The page in a real headless Chromium, with a recording for a microphone. `make page` keeps its pictures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from aiohttp.test_utils import TestServer

from soundflow.streaming.engine import Engine
from soundflow.streaming.server import Server
from soundflow.streaming.speaking import Voices
from tests.streaming.browser import CHROMIUM, Page, browse

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
TEXT = "document.getElementById('{}').textContent"


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    model = Path(os.environ.get("SOUNDFLOW_PAGE_MODEL", checkpoint))
    started = Engine(model, sessions=2)
    started.start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def microphone(real_audio: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spoken sentences with pauses, 48 kHz, as Chromium wants it."""
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    spoken = [part for samples in real_audio.values() for part in (samples, np.zeros(8_000, dtype=np.float32))]
    soundfile.write(path, np.repeat(np.concatenate(spoken), 3), 48_000, subtype="PCM_16")
    return path


def visit(engine: Engine, microphone: Path, threshold: float, steps: object, voices: Voices | None = None) -> None:
    async def run() -> None:
        server = TestServer(Server(engine, voices=voices).application())
        await server.start_server()
        try:
            async with browse(str(server.make_url("/")), microphone) as page:
                await page.value(f"document.getElementById('threshold').value = {threshold}")
                await steps(page)  # type: ignore[operator]
                assert page.errors == []
        finally:
            await server.close()

    asyncio.run(asyncio.wait_for(run(), 600))  # against hanging for ever


def pictures(tmp_path: Path) -> Path:
    kept = Path(os.environ.get("SOUNDFLOW_PAGE_PICTURES", tmp_path))
    kept.mkdir(parents=True, exist_ok=True)
    return kept


def test_the_microphone_is_streamed_and_each_chunk_drawn_and_decided(engine: Engine, microphone: Path, tmp_path: Path) -> None:
    async def steps(page: Page) -> None:
        await page.value("document.getElementById('microphone').click()")
        await page.until(f"{TEXT.format('state')} === 'streaming the microphone'")
        await page.until(f"Number({TEXT.format('chunks')}) >= 8")
        numbers = await page.value("[...live.decisions.keys()]")
        assert numbers == list(range(1, len(numbers) + 1))
        assert float(await page.value(TEXT.format("latency"))) >= 0 and await page.value(TEXT.format("dropped")) == "0"
        loudest = await page.value("Math.max(...live.columns.map((c) => c.high))")
        assert loudest > 0.02  # the recording arrives, not silence
        await page.screenshot(pictures(tmp_path) / "page-microphone.png")
        await page.value("document.getElementById('stop').click()")
        await page.until(f"{TEXT.format('state')} === 'stopped'")

    visit(engine, microphone, 0.999, steps)


def test_a_dropped_recording_is_played_and_responses_appear(engine: Engine, microphone: Path, tmp_path: Path) -> None:
    async def steps(page: Page) -> None:
        await page.value(f"""(async () => {{
            const samples = new Float32Array(32000).map((_, k) => Math.sin(k / 9) * 0.3), bytes = new DataView(new ArrayBuffer(44 + 64000));
            [[0, "RIFF"], [8, "WAVE"], [12, "fmt "], [36, "data"]].forEach(([at, text]) => [...text].forEach((c, k) => bytes.setUint8(at + k, c.charCodeAt())));
            [[4, 64036], [16, 16], [24, 16000], [28, 32000], [40, 64000]].forEach(([at, value]) => bytes.setUint32(at, value, true));
            [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([at, value]) => bytes.setUint16(at, value, true));
            samples.forEach((sample, k) => bytes.setInt16(44 + 2 * k, sample * 32767, true));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "tone.wav", {{ type: "audio/wav" }}));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", {{ dataTransfer: transfer, bubbles: true }}));
        }})()""")  # noqa: E501, F541
        await page.until(f"{TEXT.format('state')}.startsWith('playing tone.wav')")
        await page.until(f"Number({TEXT.format('responses')}) >= 1")
        await page.until("document.querySelectorAll('#log li').length >= 1")
        await page.screenshot(pictures(tmp_path) / "page-recording.png")

    visit(engine, microphone, 0.01, steps)


@pytest.mark.usefixtures("sayable")
def test_responses_are_spoken_where_the_server_has_a_voice_and_can_be_interrupted(
    engine: Engine, microphone: Path, tmp_path: Path
) -> None:
    voices = Voices("hibari:heart")

    async def steps(page: Page) -> None:
        await page.until("!document.getElementById('aloud-label').hidden")
        await page.value("document.getElementById('aloud').click(), document.getElementById('microphone').click()")
        await page.until("live && live.aloud > 0.5 && live.playing.size > 0")
        await page.screenshot(pictures(tmp_path) / "page-speaking.png")
        left = "(() => { document.getElementById('interrupt').click(); return live.playing.size; })()"
        assert await page.value(left) == 0

    try:
        visit(engine, microphone, 0.01, steps, voices)
    finally:
        voices.close()
