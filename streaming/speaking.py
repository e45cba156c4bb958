"""What a session says, aloud: sentences are spoken while the text is still being written, and can be stopped at any moment."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from soundflow.backends.tts.speakers import open_voice_pool
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.speech.rewriting import rewrite_by_rules
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.outcome import Ok
from soundflow.schemas.pcm16 import to_pcm16
from soundflow.schemas.speech import HibariConfig, KokoroConfig, SpeakerConfig, SpeechConfig, VoiceName
from soundflow.streaming.protocol import SPEECH_FAILED, error

PIECE_SAMPLES: Final = c.SAMPLE_RATE // 2
"""Of one audio event."""
SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])")
EMBEDDED: Final[dict[str, SpeakerConfig]] = {"hibari": HibariConfig(), "kokoro": KokoroConfig()}
"""Speakers that need no config."""
Speak = Callable[[str], bytes]
"""Text to PCM16; may raise BackendError."""


class Voices:
    """The voice of a server. Rendering runs in threads of its own: the event loop never waits for it."""

    def __init__(self, name: VoiceName, config: SpeechConfig | None = None, threads: int = 1):
        """Raises InputError when there is no such voice here."""
        embedded = EMBEDDED.get(name.partition(":")[0])
        speakers = (config or SpeechConfig()).speakers if config or embedded is None else (embedded,)
        voice_pool = open_voice_pool(speakers, ())
        if name not in voice_pool.voices:
            remedy = f"There are: {', '.join(voice_pool.voices)}"
            raise InputError("no such voice here", field="--speak", value=name, remedy=remedy)
        self._voice = voice_pool.voices[name]
        self._speaker = voice_pool.speaker(self._voice)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="voice")

    def speak(self, text: str) -> bytes:
        """One sentence as little-endian PCM16 at 16 kHz; empty when nothing in it can be said. BackendError when it failed."""
        said = rewrite_by_rules(text, self._voice.language)
        words = said.value if isinstance(said, Ok) else text.strip()
        if not words:
            return b""
        samples = self._speaker.say(words, self._voice).samples
        return to_pcm16(samples).tobytes()

    def close(self) -> None:
        """Let threads go; what is being rendered is not waited for."""
        self.pool.shutdown(wait=False, cancel_futures=True)


class Speech:
    """One session's voice: protocol events of its responses in, audio events out. Belongs to the server's event loop.

    A response that opens, a restart or `stop` silences what was being said: nothing of it is sent afterwards but that it stopped.
    """

    def __init__(self, speak: Speak, pool: ThreadPoolExecutor, put: Callable[[dict[str, Any]], None], room: Callable[[], bool]):
        """`room`: whether the client takes audio; without it a response is silenced rather than kept."""
        self._speak, self._pool, self._put, self._room = speak, pool, put, room
        self._text, self._chunk = "", 0
        self._sentences: asyncio.Queue[str | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    @property
    def speaking(self) -> bool:
        """Something is being said."""
        return self._task is not None

    def told(self, event: dict[str, Any]) -> None:
        """An event of the session."""
        match event["type"]:
            case "response.created":
                self.stop()
                self._text, self._chunk, self._sentences = "", event["chunk"], asyncio.Queue()
                self._task = asyncio.get_running_loop().create_task(self._say(self._sentences, self._chunk))
            case "response.output_text.delta" if self._task is not None:
                *whole, self._text = SENTENCE.split(self._text + event["delta"])
                for sentence in whole:
                    self._sentences.put_nowait(sentence)
            case "response.done" if self._task is not None:
                self._sentences.put_nowait(self._text)
                self._sentences.put_nowait(None)
            case "session.restarted":
                self.stop()

    def stop(self) -> None:
        """Be silent, here and now."""
        if self._task is not None:
            self._task.cancel()
            self._over(stopped=True)

    def _over(self, stopped: bool) -> None:
        self._task = None
        self._put({"type": "response.output_audio.done", "chunk": self._chunk, "stopped": stopped})

    async def _say(self, sentences: asyncio.Queue[str | None], chunk: int) -> None:
        loop = asyncio.get_running_loop()
        while (sentence := await sentences.get()) is not None:
            try:
                audio = await loop.run_in_executor(self._pool, self._speak, sentence)
            except (BackendError, InputError, ValueError) as wrong:
                self._put(error(SPEECH_FAILED, f"cannot be said aloud: {wrong}"))
                continue
            for start in range(0, len(audio), 2 * PIECE_SAMPLES):
                if not self._room():
                    return self._over(stopped=True)
                piece = base64.b64encode(audio[start : start + 2 * PIECE_SAMPLES]).decode()
                self._put({"type": "response.output_audio.delta", "chunk": chunk, "delta": piece})
        self._over(stopped=False)
        return None


def pcm_of(event: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Samples (n,) of a `response.output_audio.delta`."""
    return np.frombuffer(base64.b64decode(event["delta"]), "<i2")
