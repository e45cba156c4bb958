"""The speech chain with a CosyVoice server, also one that misbehaves: no bad audio is kept, and every take is counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from soundflow.backends.tts.speakers import open_speaker
from soundflow.operators.clean.clip_cache import to_wav
from soundflow.operators.protocols.faults import BackendError, RequestRefused
from soundflow.operators.protocols.tts import resample_to_16k
from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.speech.speak import speak
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.schemas.speech import CosyVoiceMode, SpeechConfig, WhisperConfig
from soundflow.schemas.spoken import SpokenDialogue, Take
from soundflow.schemas.stream import StreamPlan
from tests.support.corpus import write_recipe
from tests.support.hostile_cosyvoice import BROKEN, RATE, Fault, HostileCosyVoice, Request
from tests.support.spoken import NO_WHISPER, WHISPER_IS_HERE, begin, dialogue, lenient, rows, write_dialogues

SCRIPT: dict[str, tuple[Fault, ...]] = {
    "What is the weather like in Paris tomorrow?": (),
    "Could you explain how a bicycle stays upright?": (Fault.SHORT,),
    "Tell me three facts about whales.": (Fault.NOISE, Fault.SILENCE),
    "How long does it take to boil an egg?": (Fault.ERROR_500, Fault.GARBLED),
    "My sister would like a cup of tea with milk.": (Fault.EXTRA, Fault.WRONG_RATE),
    "The last train to the airport leaves at midnight.": (Fault.ODD, Fault.RESET, Fault.SHORT),
    "Please close the window before you go to bed.": (Fault.WRONG_RATE, Fault.ODD, Fault.GARBLED),
    "Nobody knows who painted this old picture.": (Fault.SHORT, Fault.NOISE, Fault.WRONG_RATE),
    "We are going to the lake if the sun comes out.": (Fault.SILENCE, Fault.RESET, Fault.EXTRA, Fault.SHORT),
}
"""What befalls the first requests for each text; then the server behaves."""
DISCARDED = 2
"""Texts of which three whole answers are bad."""
LINES = [{"id": f"d{number}", "turns": [{"user": text, "assistant": "Yes."}]} for number, text in enumerate(SCRIPT)]


def befalls(text: str, before: int) -> Fault | None:
    """See `SCRIPT`."""
    return SCRIPT[text][before] if before < len(SCRIPT[text]) else None


def wav_hash(request: Request) -> str:
    """Of the clip an answer would become."""
    samples = from_pcm16(request.stream[: len(request.stream) // 2 * 2])
    return hashlib.sha256(to_wav(resample_to_16k(samples, RATE))).hexdigest()


def takes(out: Path) -> list[Take]:
    """Every rendering that was judged."""
    documents = (SpokenDialogue.from_json(path.read_bytes()) for path in sorted(out.glob("dialogues/*/*.json")))
    return [take for document in documents for turn in document.turns for take in turn.takes]


@pytest.mark.skipif(not WHISPER_IS_HERE, reason=NO_WHISPER)
def test_no_bad_second_of_a_misbehaving_server_gets_into_a_shard_and_all_are_accounted_for(sources: Path, tmp_path: Path) -> None:
    lines = write_dialogues(tmp_path / "d.jsonl", LINES)
    with HostileCosyVoice(script=befalls) as server:
        config = SpeechConfig(speakers=(server.config(),), recogniser=WhisperConfig())
        out = begin(tmp_path / "out", config)
        summary = speak(lines, out, config)
    judged, answered = takes(out), server.log
    broken = [request for request in answered if request.fault in BROKEN]
    bad = [request for request in answered if request.fault and request.fault not in BROKEN]
    assert (summary.failed, summary.spoken) == (0, len(SCRIPT) - DISCARDED) and sum(summary.rejected.values()) == DISCARDED
    assert Counter(request.fault for request in broken + bad) == Counter(fault for faults in SCRIPT.values() for fault in faults)
    # every answer that was whole was judged once, and exactly as many refused as were bad
    assert len(judged) == len(answered) - len(broken) and sum(bool(take.refused) for take in judged) == len(bad)
    assert {take.refused for take in judged} == {"", "silent", "too_short", "too_long", "cut_ending", "other_pitch", "wer"}
    # nothing of a bad one is in a clip
    clips = {Path(row["path"]).stem for row in rows(out / "manifest.jsonl")}
    assert clips <= {wav_hash(request) for request in answered if request.fault is None}
    assert not clips & {wav_hash(request) for request in bad + broken}
    # and streams are built of the good ones
    index_clips([out, sources / "noise"], tmp_path / "clips", workers=1)
    spoken = {brief.id for brief in ClipIndex.open(tmp_path / "clips").briefs() if brief.kind == "speech"}
    assert len(spoken) == summary.clips == len(rows(out / "manifest.jsonl"))
    change = {"tasks": {"voice_chat": 1.0}, "streams": 2, "shards": 1, "scene": {"events": [1, 3]}}
    build(write_recipe(tmp_path / "recipe.yaml", tmp_path / "clips", **change), tmp_path / "corpus", executor="inline")
    report = verify(tmp_path / "corpus", sample=2)
    assert report.ok and report.streams == 2
    members = [members for _, members in read_shard(next((tmp_path / "corpus" / "data").glob("*.tar")), only=("json",))]
    played = {clip.clip_id for one in members for clip in StreamPlan.from_json(one["json"]).clips if clip.transcript}
    assert played and played <= spoken


@pytest.mark.parametrize("mode", ["sft", "zero_shot", "cross_lingual", "instruct", "instruct2"])
def test_every_mode_sends_the_fields_of_its_route(mode: CosyVoiceMode, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.wav"
    prompt.write_bytes(to_wav(np.zeros(1600, dtype=np.float32)))
    fields = {"prompt_wav": str(prompt), "prompt_text": "Hello.", "instruct": "Speak calmly."}
    with HostileCosyVoice() as server:
        speaker = open_speaker(server.config(mode, **fields))
        rendering = speaker.say("Good evening.", speaker.voices[0])
    request = server.log[0]
    assert (
        request.mode == mode
        and request.form["tts_text"] == "Good evening."
        and request.form.get("spk_id") in (None, "English woman")
    )
    assert request.form.get("prompt_wav") in (None, prompt.read_bytes())
    assert abs(rendering.samples.size / 16_000 - len(request.stream) / 2 / RATE) < 0.001  # resampled once, to the right length


def test_an_answer_that_never_comes_is_asked_for_again() -> None:
    with HostileCosyVoice([None, Fault.HANG]) as server:
        speaker = open_speaker(server.config(timeout=2.0, retries=20))
        for _ in range(2):
            assert speaker.say("Good evening.", speaker.voices[0]).samples.size > 8_000
    assert server.log[1].fault == Fault.HANG


def test_a_server_that_answers_nothing_breaks_the_dialogue_and_not_the_run(tmp_path: Path) -> None:
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(0, 1), dialogue(1, 1)])
    with HostileCosyVoice([Fault.ERROR_500]) as server:
        config = lenient(speakers=(server.config(),))
        summary = speak(lines, begin(tmp_path / "out", config), config)
        assert (summary.failed, summary.spoken) == (2, 0) and not (tmp_path / "out" / "manifest.jsonl").read_bytes()
        assert "500" in summary.why_failed and summary.why_failed in summary.lines()[0]
        server.faults = []
        summary = speak(lines, tmp_path / "out", config)
    assert (summary.failed, summary.spoken, summary.why_failed) == (0, 2, "")


def test_a_backend_that_is_down_ends_the_run(tmp_path: Path) -> None:
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(number, 1) for number in range(40)])
    with (
        HostileCosyVoice([Fault.ERROR_500]) as server,
        pytest.raises(BackendError, match="12 dialogues in a row failed"),
    ):
        speak(lines, tmp_path / "out", lenient(speakers=(server.config(),)))


def test_a_user_who_stops_does_not_wait_for_a_server_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.pipeline.mechanics.daemon_threads.GRACE_SECONDS", 0.2)
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(0, 1), dialogue(1, 1)])
    with HostileCosyVoice([Fault.HANG]) as server:
        config = lenient(speakers=(server.config(timeout=3000.0),))
        with pytest.raises(Interrupted):
            speak(lines, begin(tmp_path / "out", config), config, should_stop=lambda: len(server.log) == 2)
        server.faults = []
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_a_wrong_address_is_the_users_mistake(tmp_path: Path) -> None:
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(0, 1)])
    with HostileCosyVoice() as server:
        config = server.config()
        wrong = config.model_copy(update={"base_url": f"{config.base_url}/elsewhere"})
        with pytest.raises(InputError, match="does not know this address"):
            speak(lines, tmp_path / "out", lenient(speakers=(wrong,)))


def test_a_form_the_server_does_not_know_is_refused_and_not_asked_again() -> None:
    with HostileCosyVoice() as server:
        speaker = open_speaker(server.config())
        with pytest.raises(RequestRefused, match="422"):
            speaker.say("", speaker.voices[0])
    assert not server.log
