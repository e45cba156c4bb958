"""The speech chain with servers: OpenAI-compatible speech and transcription, and a language model that rewrites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from soundflow.cli.app import main
from soundflow.pipeline.speech.speak import speak
from soundflow.schemas.llm import BudgetSpent, LlmBudget, LlmConfig
from soundflow.schemas.speech import GateConfig, SpeechConfig
from tests.support.hostile_llm import Fault, HostileLlm
from tests.support.openai_audio import Fault as AudioFault
from tests.support.openai_audio import OpenAiAudio
from tests.support.spoken import begin, dialogue, lenient, rows, write_dialogues


def test_dialogues_are_spoken_and_transcribed_by_unreliable_servers(tmp_path: Path) -> None:
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(0, 1), dialogue(1, 1)])
    with OpenAiAudio([AudioFault.BUSY, None, AudioFault.TRUNCATED, AudioFault.HTML]) as server:
        gate = GateConfig(wer_limit=0.7)
        config = SpeechConfig(speakers=(server.speech(),), recogniser=server.transcription(), gate=gate)
        summary = speak(lines, begin(tmp_path / "out", config), config)
    assert (summary.spoken, summary.failed) == (2, 0)
    assert {row["voice"] for row in rows(tmp_path / "out" / "manifest.jsonl")} == {"openai:nova"}
    assert {path for path, _ in server.requests} == {"/v1/audio/speech", "/v1/audio/transcriptions"}


@pytest.mark.parametrize("part", ["speakers", "recogniser"])
def test_a_wrong_address_is_an_input_error_at_the_start_and_resumable_later(
    tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, lines = tmp_path / "out", tmp_path / "d.jsonl"
    with OpenAiAudio() as closed:
        pass

    def config(server: OpenAiAudio, part_of: OpenAiAudio) -> SpeechConfig:
        parts = {"speakers": server, "recogniser": server} | {part: part_of}
        speech, transcription = parts["speakers"].speech(), parts["recogniser"].transcription()
        return SpeechConfig(speakers=(speech,), recogniser=transcription, gate=GateConfig(wer_limit=0.7))

    def ends(settings: SpeechConfig) -> tuple[int, str]:
        (tmp_path / "speech.yaml").write_text(settings.model_dump_json())
        with pytest.raises(SystemExit) as ended:
            main(["speak", str(lines), "-o", str(out), "--config", str(tmp_path / "speech.yaml"), "--executor", "inline"])
        return int(ended.value.code or 0), capsys.readouterr().err

    with OpenAiAudio() as server:
        write_dialogues(lines, [dialogue(0, 1)])
        begin(out, config(server, server))
        code, text = ends(config(server, closed))
        assert code == 2 and f" server at {closed.origin}/v1" in text and "cannot be reached" in text
        assert f"Check {part}.base_url" in text and "resume" not in text
        assert ends(config(server, server))[0] == 0
        write_dialogues(lines, [dialogue(0, 1), dialogue(1, 1)])
        code, text = ends(config(server, closed))
        assert code == 3 and text.count("run the same command again to resume") == 1 and f"Check {part}.base_url" in text


def rewritten(server: HostileLlm, **change: Any) -> SpeechConfig:
    """A config whose turns a language model rewrites."""
    return lenient(rewriter="llm", llm=LlmConfig(model="m", server=server.settings(), **change))


def test_a_language_model_rewrites_and_the_rules_have_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(1, 1), dialogue(3, 1)])
    with HostileLlm() as server:
        config = rewritten(server)
        speak(lines, begin(tmp_path / "out", config), config)
    transcripts = {row["transcript"] for row in rows(tmp_path / "out" / "manifest.jsonl")}
    assert "Could you explain how a bicycle stays upright?" in transcripts and all("5" not in text for text in transcripts)
    assert server.roles == {"spoken_rewriter": 2}


def test_invalid_answers_reject_the_dialogue_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(1, 1)])
    with HostileLlm(lambda body, before: Fault.NOT_JSON) as server:
        config = rewritten(server)
        summary = speak(lines, begin(tmp_path / "out", config), config)
    assert summary.rejected == {"llm_no_json": 1} and summary.failed == 0


def test_a_spent_budget_ends_the_run_and_more_money_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(number, 1) for number in range(4)])
    with HostileLlm() as server:
        poor, rich = (rewritten(server, budget=LlmBudget(calls=calls)) for calls in (2, 4))
        out = begin(tmp_path / "out", poor)
        for _ in range(2):  # what runs before spent counts
            with pytest.raises(BudgetSpent):
                speak(lines, out, poor)
        assert server.calls == 2
        assert speak(lines, out, rich).spoken >= 3 and server.calls == 4
