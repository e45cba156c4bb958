"""Speech behind OpenAI's protocol, and the official CosyVoice package: requests and responses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from soundflow.backends.asr.pocketsphinx import PocketsphinxRecogniser
from soundflow.backends.asr.recognisers import open_recogniser
from soundflow.backends.tts.speakers import open_speaker
from soundflow.operators.protocols.faults import BackendError, RequestRefused, ServerFault
from soundflow.operators.protocols.tts import resample_to_16k
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import CosyVoiceConfig, ServerVoice
from tests.conftest import SENTENCES
from tests.support.openai_audio import KEY, Fault, OpenAiAudio

PACKAGE = {
    "cosyvoice/__init__.py": "",
    "cosyvoice/cli/__init__.py": "",
    "cosyvoice/cli/cosyvoice.py": """
import numpy as np
from hibari import SAMPLE_RATE, Hibari
from cosyvoice.utils import common

class AutoModel:
    sample_rate = SAMPLE_RATE

    def __init__(self, model_dir):
        self.model_dir, self.voice = model_dir, Hibari()

    def inference_sft(self, tts_text, spk_id, stream=False, speed=1.0):
        if tts_text == "break":
            raise RuntimeError("CUDA out of memory")
        audio = self.voice(tts_text, seed=common.seed, speed=speed)
        for part in np.array_split(np.asarray(audio, dtype=np.float32), 3):
            yield {"tts_speech": part[None]}
""",
    "cosyvoice/utils/__init__.py": "",
    "cosyvoice/utils/common.py": "seed = None\ndef set_all_random_seed(value):\n    global seed\n    seed = value\n",
}
"""The called parts of the official package, with the embedded voice and numpy instead of torch."""


@pytest.mark.parametrize("kind", ["wav", "pcm", "flac"])
def test_every_format_becomes_speech_of_the_right_length(kind: str) -> None:
    with OpenAiAudio() as server:
        speaker = open_speaker(server.speech(format=kind))
        rendering = speaker.say("Good evening, everybody.", speaker.voices[0], speed=0.9)
    path, request = server.requests[0]
    assert (path, request["voice"], request["response_format"], request["speed"]) == ("/v1/audio/speech", "nova", kind, 0.9)
    assert 1.0 < rendering.samples.size / 16_000 < 3.5 and np.abs(rendering.samples).max() > 0.05
    assert speaker.knobs == ("draw", "speed")


def test_a_recogniser_gets_a_wav_and_its_language(real_audio: dict[str, np.ndarray]) -> None:
    with OpenAiAudio() as server:
        transcript = open_recogniser(server.transcription()).transcribe(real_audio["request"], "en-US")
    path, form = server.requests[0]
    assert (path, form["model"], form["language"]) == ("/v1/audio/transcriptions", "whisper-1", "en") and form["file"][
        :4
    ] == b"RIFF"
    assert transcript.model == "whisper-1" and set(transcript.text.lower().split()) & set(SENTENCES["request"].lower().split())


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.HTML, Fault.TRUNCATED])
def test_transient_faults_of_a_speaker_are_retried(fault: Fault) -> None:
    with OpenAiAudio([fault, fault]) as server:
        speaker = open_speaker(server.speech())
        assert speaker.say("Hello.", speaker.voices[0]).samples.size > 4_000
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.HTML, Fault.TRUNCATED, Fault.NO_TEXT])
def test_transient_faults_of_a_recogniser_are_retried(fault: Fault, real_audio: dict[str, np.ndarray]) -> None:
    with OpenAiAudio([fault]) as server:
        assert open_recogniser(server.transcription()).transcribe(real_audio["short"], "en").text
    assert len(server.requests) == 2


def test_a_permanent_fault_is_raised_after_the_retries(real_audio: dict[str, np.ndarray]) -> None:
    with OpenAiAudio([Fault.NO_TEXT] * 9) as server, pytest.raises(ServerFault, match="not a transcription"):
        open_recogniser(server.transcription()).transcribe(real_audio["short"], "en")
    assert len(server.requests) == 4


def test_a_refused_key_ends_the_work_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAiAudio([Fault.UNAUTHORIZED]) as server:
        speaker = open_speaker(server.speech())
        with pytest.raises(InputError, match="OPENAI_API_KEY") as raised:
            speaker.say("Hello.", speaker.voices[0])
    assert KEY not in str(raised.value) and len(server.requests) == 1


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CosyVoiceConfig]:
    """A config of the package in this process, which is replaced by PACKAGE."""
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield CosyVoiceConfig(model_dir="models/CosyVoice2", voices=(ServerVoice(id="anna", language="en"),))
    for name in [name for name in sys.modules if name.partition(".")[0] == "cosyvoice"]:
        del sys.modules[name]


def test_the_official_package_speaks_in_this_process(official: CosyVoiceConfig) -> None:
    speaker = open_speaker(official)
    voice = speaker.voices[0]
    one, same, slow = (speaker.say("Hello there.", voice, seed=3, speed=speed).samples for speed in (1.0, 1.0, 0.8))
    assert np.array_equal(one, same) and slow.size > 1.1 * one.size and 8_000 < one.size < 48_000
    assert speaker.knobs == ("seed", "speed")
    with pytest.raises(BackendError, match="CUDA out of memory"):
        speaker.say("break", voice)


def test_a_missing_official_package_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cosyvoice", None)
    speaker = open_speaker(CosyVoiceConfig(model_dir="models/CosyVoice2", voices=(ServerVoice(id="anna", language="en"),)))
    with pytest.raises(InputError, match="Clone FunAudioLLM/CosyVoice"):
        speaker.say("Hello.", speaker.voices[0])


def test_a_transcript_does_not_depend_on_earlier_clips(real_audio: dict[str, np.ndarray]) -> None:
    names = ["question", "short"]
    there, back = PocketsphinxRecogniser(), PocketsphinxRecogniser()
    first = {name: there.transcribe(real_audio[name], "en").text for name in names}
    assert first == {name: back.transcribe(real_audio[name], "en").text for name in names[::-1]}
    assert all(first.values())
    with pytest.raises(InputError, match="English only"):
        there.transcribe(real_audio["short"], "zh")


def test_samples_that_are_not_finite_are_refused() -> None:
    with pytest.raises(BackendError, match="NaN or infinity"):
        resample_to_16k(np.array([0.1, np.nan]), 24_000)
    assert not issubclass(RequestRefused, ServerFault)
