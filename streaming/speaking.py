"""Spoken responses: sentences are synthesised while the text is still being generated, and can be stopped at any moment."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, assert_never

from soundflow.backends.tts.speakers import open_voice_pool
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.speech.pronunciation import Pronunciations
from soundflow.operators.speech.rewriting import rewrite_by_rules
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.outcome import Ok
from soundflow.schemas.pcm16 import to_pcm16
from soundflow.schemas.speech import HibariConfig, KokoroConfig, SpeakerConfig, SpeechConfig, VoiceName
from soundflow.streaming.events import (
    AudioDelta,
    AudioDone,
    AudioDropped,
    ChunkSilent,
    EngineEvent,
    ErrorEvent,
    Event,
    Reanchored,
    ResponseCreated,
    ResponseDone,
    Restarted,
    TextDelta,
)
from soundflow.streaming.protocol import SPEECH_FAILED

PIECE_SAMPLES: Final = c.SAMPLE_RATE // 2
"""Maximum samples of one audio event."""
SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])")
EMBEDDED: Final[dict[str, SpeakerConfig]] = {"hibari": HibariConfig(), "kokoro": KokoroConfig()}
"""Speakers that need no configuration."""
Speak = Callable[[str], bytes]
"""Text to PCM16 bytes; may raise BackendError."""


class Voices:
    """The voice of a server. Synthesis runs in its own threads, so the event loop never waits for it."""

    def __init__(self, name: VoiceName, config: SpeechConfig | None = None, threads: int = 1):
        """Open the voice `name`; raises InputError when there is none of that name."""
        embedded = EMBEDDED.get(name.partition(":")[0])
        speakers = (config or SpeechConfig()).speakers if config or embedded is None else (embedded,)
        voices = open_voice_pool(speakers, ())
        if name not in voices.voices:
            raise InputError("unknown voice", field="--speak", value=name, remedy=f"Available: {', '.join(voices.voices)}")
        self._voice = voices.voices[name]
        self._speaker = voices.speaker(self._voice)
        self._pronunciations = Pronunciations(config.pronunciations if config else None)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="voice")

    def speak(self, text: str) -> bytes:
        """Synthesise a sentence as little-endian PCM16 at 16 kHz; empty when it has no words. Raises BackendError."""
        rewritten = rewrite_by_rules(text, self._voice.language)
        words = rewritten.value if isinstance(rewritten, Ok) else text.strip()
        if not words:
            return b""
        words = self._pronunciations.respell(words, self._voice.language)
        return to_pcm16(self._speaker.say(words, self._voice).samples).tobytes()

    def close(self) -> None:
        """Shut the threads down without waiting for synthesis in progress."""
        self.pool.shutdown(wait=False, cancel_futures=True)


class Speech:
    """The voice of one session: events of its responses in, audio events out. Runs in the server's event loop.

    A new response, a restart or `stop` silences the current one: only `AudioDone` of it is sent afterwards.
    """

    def __init__(self, speak: Speak, pool: ThreadPoolExecutor, put: Callable[[Event], None], takes_audio: Callable[[], bool]):
        """Send audio events with `put`. A response is silenced as soon as `takes_audio` returns False."""
        self._speak, self._pool, self._put, self._takes_audio = speak, pool, put, takes_audio
        self._text, self._chunk = "", 0
        self._sentences: asyncio.Queue[str | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    @property
    def speaking(self) -> bool:
        """Whether a response is being spoken."""
        return self._task is not None

    def follow(self, event: EngineEvent) -> None:
        """Take the next event of the session."""
        match event:
            case ResponseCreated():
                self.stop()
                self._text, self._chunk, self._sentences = "", event.chunk, asyncio.Queue()
                self._task = asyncio.get_running_loop().create_task(self._speak_all(self._sentences, self._chunk))
            case TextDelta() if self._task is not None:
                *whole, self._text = SENTENCE.split(self._text + event.delta)
                for sentence in whole:
                    self._sentences.put_nowait(sentence)
            case ResponseDone() if self._task is not None:
                self._sentences.put_nowait(self._text)
                self._sentences.put_nowait(None)
            case Restarted():
                self.stop()
            case ChunkSilent() | TextDelta() | ResponseDone() | Reanchored() | AudioDropped():
                pass
            case _:
                assert_never(event)

    def stop(self) -> None:
        """Silence the current response immediately."""
        if self._task is not None:
            self._task.cancel()
            self._finish(stopped=True)

    def _finish(self, stopped: bool) -> None:
        self._task = None
        self._put(AudioDone(chunk=self._chunk, stopped=stopped))

    async def _speak_all(self, sentences: asyncio.Queue[str | None], chunk: int) -> None:
        loop = asyncio.get_running_loop()
        while (sentence := await sentences.get()) is not None:
            try:
                audio = await loop.run_in_executor(self._pool, self._speak, sentence)
            except (BackendError, InputError, ValueError) as error:
                self._put(ErrorEvent.of(SPEECH_FAILED, f"a sentence could not be spoken: {error}"))
                continue
            for start in range(0, len(audio), 2 * PIECE_SAMPLES):
                if not self._takes_audio():
                    return self._finish(stopped=True)
                self._put(AudioDelta.of(chunk, audio[start : start + 2 * PIECE_SAMPLES]))
        self._finish(stopped=False)
        return None
