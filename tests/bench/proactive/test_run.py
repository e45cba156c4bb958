"""Running ProactiveSound-Bench: the Multiple tier, a checkpoint as a stream, a chat model by the public prompt, kills between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.bench.harness.chat_player import config_of
from soundflow.bench.harness.sounds import ROOM_TONE_DBFS, append_room_tone
from soundflow.bench.harness.stream_player import StreamPlayer
from soundflow.bench.proactive.metadata import Decision, Prediction, Sound, read_predictions, read_sounds
from soundflow.bench.proactive.multiple import multiple, read_manifest, write_manifest
from soundflow.bench.proactive.prompt import PUBLIC
from soundflow.bench.proactive.replies import match_replies
from soundflow.bench.proactive.run import ProactiveSet, run_chat, run_stream
from soundflow.bench.proactive.score import score
from soundflow.cli.app import app
from soundflow.model.thinker import StreamingThinker
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import LlmServer
from tests.bench.audio_server import AudioServer, Messages
from tests.bench.proactive_world import PUBLISHED, SMALL, rows_of, write, write_recordings


@pytest.fixture
def world(tmp_path: Path) -> ProactiveSet:
    meta = write(tmp_path / "meta.jsonl", SMALL)
    return ProactiveSet(read_sounds(meta), write_recordings(tmp_path / "data", SMALL))


def quick(url: str, **changes: Any) -> Any:
    server = {"base_url": url, "retries": 1, "backoff_seconds": 0.005, "concurrency": 2} | changes
    return config_of("hears-1", server=LlmServer.model_validate(server))


def test_the_multiple_tier_has_every_sound_once_in_streams_of_one_sub_category(tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", rows_of(PUBLISHED)))
    tier = multiple(sounds, seed=3)
    by_id = {sound.id: sound for sound in sounds}
    names = [name for stream in tier for name in stream.sounds]
    assert sorted(names) == sorted(by_id) and len({stream.id for stream in tier}) == len(tier)
    assert all(2 <= len(stream.sounds) <= 5 for stream in tier)
    assert all({(by_id[name].domain, by_id[name].category) for name in s.sounds} == {(s.domain, s.category)} for s in tier)
    assert any({by_id[name].decision for name in s.sounds} == set(Decision) for s in tier), "distractors among what matters"
    assert multiple(sounds[::-1], seed=3) == tier != multiple(sounds, seed=4)
    path = write_manifest(tmp_path / "tier.jsonl", tier)
    assert read_manifest(path, sounds) == tier


def test_a_manifest_that_hears_a_sound_twice_or_one_nobody_knows_is_reported_with_its_row(tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", SMALL))
    rows = [stream.model_dump(mode="json") for stream in multiple(sounds)]
    with pytest.raises(InputError, match="line 2: sounds: occurs twice"):
        read_manifest(write(tmp_path / "a.jsonl", [rows[0], rows[0] | {"id": "again"}]), sounds)
    with pytest.raises(InputError, match="line 1: sounds: is not a sound of the metadata"):
        read_manifest(write(tmp_path / "b.jsonl", [rows[0] | {"sounds": ["unknown"]}]), sounds)


def test_a_stream_gives_every_recording_its_own_chunks_and_what_was_said_in_them(thinker: StreamingThinker) -> None:
    rng = np.random.default_rng(2)
    pieces = [(0.1 * rng.standard_normal(length)).astype(np.float32) for length in (9_000, 16_000, 3_000)]
    quiet = StreamPlayer(thinker, threshold=0.999999).play(pieces, "Answer.", pause_seconds=0.5)
    assert [len(one.probabilities) for one in quiet] == [3, 4, 2] and not any(one.responses for one in quiet)
    assert [one.seconds for one in quiet] == pytest.approx([1.2, 1.6, 0.8])
    chances = sorted(chance for one in quiet for chance in one.probabilities)
    loud = StreamPlayer(thinker, threshold=chances[-2] - 1e-6, longest_response=4).play(pieces, "Answer.", pause_seconds=0.5)
    opened = [(number, here.chunk) for number, one in enumerate(loud) for here in one.responses]
    assert opened and all(here < len(loud[number].probabilities) for number, here in opened)
    alone = StreamPlayer(thinker, threshold=0.999999).play(pieces[:1], "Answer.", pause_seconds=0.5)
    assert alone[0] == quiet[0], "nothing later changes what came before"


def test_a_checkpoint_is_tested_as_a_stream_and_a_killed_run_goes_on(
    world: ProactiveSet, checkpoint: Path, tmp_path: Path
) -> None:
    groups, out = world.tier("multiple", 0), tmp_path / "run"
    assert run_stream(world, groups, out, checkpoint, threshold=0.6).is_complete
    whole = (out / "predictions.jsonl").read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert {row["id"] for row in rows} == {sound.id for sound in world.sounds}
    assert all((row["decision"] == "RESPOND") == bool(row["said"]) for row in rows)
    assert len({row["decision"] for row in rows}) == 2, "the model, untrained, answers some of it"
    assert all(row["seconds"] == pytest.approx(0.4 * len(row["chunks"])) for row in rows)
    (out / "predictions.jsonl").write_bytes(whole[: whole.index(b"\n") + 40])  # as kill -9 leaves it
    assert run_stream(world, groups, out, checkpoint, threshold=0.6).is_complete
    again = [json.loads(line) for line in (out / "predictions.jsonl").read_bytes().splitlines()]
    assert sorted(again, key=lambda row: row["id"]) == sorted(rows, key=lambda row: row["id"])
    with pytest.raises(InputError, match="another threshold"):
        run_stream(world, groups, out, checkpoint, threshold=0.7)
    found = score(world.sounds, read_predictions(out / "predictions.jsonl", {sound.id for sound in world.sounds}))
    assert found.hours == pytest.approx(sum(row["seconds"] for row in rows) / 3600)
    assert set(found.baselines) == {"always respond", "never respond", "energy threshold"}


def loud(messages: Messages, before: int) -> str:
    """Responds to what is loud."""
    level = float(np.abs(messages[-1]["sounds"][-1]).max())
    if level < 0.07:
        return "<Decision>IGNORE</Decision><Reply>No Reply</Reply>"
    return f"<decision>respond</decision>\n<Reply>Something is loud: {level:.2f}.</Reply>"


def test_a_chat_model_gets_the_public_prompt_with_each_sound_and_its_own_history(world: ProactiveSet, tmp_path: Path) -> None:
    groups = world.tier("multiple", 0)
    with AudioServer(loud) as server:
        assert run_chat(world, groups, tmp_path / "run", quick(server.url)).is_complete
    assert max(len(messages) for messages in server.requests) == 2 * max(len(group.ids) for group in groups) - 1
    assert all(turn["text"] == PUBLIC for messages in server.requests for turn in messages[::2])
    assert all(len(turn["sounds"]) == 1 for messages in server.requests for turn in messages[::2])
    found = read_predictions(tmp_path / "run" / "predictions.jsonl", {sound.id for sound in world.sounds})
    assert [found[sound.id].decision for sound in world.sounds] == [Decision.IGNORE] * 3 + [Decision.RESPOND] * 3
    assert found[world.sounds[5].id].reply == "Something is loud: 0.12."


def test_what_a_server_refuses_is_wrong_and_what_it_fails_at_is_asked_again(world: ProactiveSet, tmp_path: Path) -> None:
    def moody(messages: Messages, before: int) -> str | tuple[int, str] | None:
        level = float(np.abs(messages[-1]["sounds"][-1]).max())
        if level < 0.03:
            return 400, "too short"
        if level < 0.05:
            return None
        return (500, "down") if level > 0.11 else loud(messages, before)

    groups, out = world.tier("single", 0), tmp_path / "run"
    with AudioServer(moody) as server:
        progress = run_chat(world, groups, out, quick(server.url))
        assert not progress.is_complete and progress.answered == 5 and "500" in progress.faults[0]
    found = score(world.sounds, read_predictions(out / "predictions.jsonl", {sound.id for sound in world.sounds}))
    assert (found.missing, found.unreadable) == (1, 2)
    with AudioServer(loud) as server:
        assert run_chat(world, groups, out, quick(server.url)).is_complete and len(server.requests) == 1


def test_standard_answers_may_come_later_and_nothing_is_asked_again(world: ProactiveSet, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with AudioServer(loud) as server:
        assert run_chat(world, world.tier("single", 0), out, quick(server.url)).is_complete
        asked = len(server.requests)
        world.sounds = [sound.model_copy(update={"standard_answers": ("Something is loud.",)}) for sound in world.sounds]
        assert run_chat(world, world.tier("single", 0), out, quick(server.url)).is_complete and len(server.requests) == asked
        world.sounds[0] = world.sounds[0].model_copy(update={"decision": Decision.IGNORE})
        with pytest.raises(InputError, match="another set"):
            run_chat(world, world.tier("single", 0), out, quick(server.url))


def test_missing_recordings_are_refused_or_count_as_wrong(world: ProactiveSet, tmp_path: Path) -> None:
    world.files[SMALL[0]["id"]].unlink()
    with pytest.raises(InputError, match="1 of 6 recordings are missing") as raised:
        ProactiveSet(world.sounds, tmp_path / "data")
    assert "00000000.wav" in str(raised.value) and "--partial" in str(raised.value)
    partial = ProactiveSet(world.sounds, tmp_path / "data", partial=True)
    assert SMALL[0]["id"] not in [name for group in partial.tier("multiple", 0) for name in group.ids]


def test_replies_are_compared_with_the_nearest_standard_answer() -> None:
    rows = [row | {"standard_answers": ["Check the stove, something burns.", "Call for help."]} for row in SMALL[:2]] + SMALL[2:3]
    sounds = [Sound.model_validate(row) for row in rows]
    texts = ["Please check the stove, something burns!", "I like trains."]
    given = {
        sound.id: Prediction(id=sound.id, decision=Decision.RESPOND, reply=reply)
        for sound, reply in zip(sounds, texts, strict=False)
    }
    found = match_replies(sounds, given, HashedNgrams())
    assert found.matched == {sounds[0].id} and found.expected == 2 and len(found.similarity) == 2
    total = score(sounds, given | {sounds[2].id: Prediction(id=sounds[2].id, decision=Decision.IGNORE)}, replies=found)
    assert total.counts.accuracy == 1.0 and total.accuracy_with_replies == pytest.approx(2 / 3)


def test_the_commands_run_and_score(world: ProactiveSet, checkpoint: Path, tmp_path: Path) -> None:
    meta, data = str(tmp_path / "meta.jsonl"), str(tmp_path / "data")
    command = ["bench", "proactive", "run", "--meta", meta, "--audio", data, "--tier", "multiple", "--json"]
    with AudioServer(loud) as server:
        done = CliRunner().invoke(app, [*command, "--chat", "m", "--server", server.url, "-o", str(tmp_path / "chat")])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["n"] == 6 and document["missing"] == 0 and document["false_alarms_per_hour"] is not None
    assert isinstance(document["baselines"]["energy threshold"], dict)
    write(tmp_path / "p.jsonl", [{"id": row["id"], "decision": "IGNORE", "reply": ""} for row in SMALL])
    scored = CliRunner().invoke(app, ["bench", "proactive", "score", str(tmp_path / "p.jsonl"), "--meta", meta, "--json"])
    document = json.loads(scored.stdout)
    assert document["accuracy"] == 0.5 and document["balanced_accuracy"] == 0.5 and document["missing"] == 0
    assert "not run" in document["baselines"]["energy threshold"]
    table = CliRunner().invoke(app, ["bench", "proactive", "score", str(tmp_path / "p.jsonl"), "--meta", meta, "--audio", data])
    assert "energy threshold" in table.output and "not run" not in table.output
    unknown = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "none")])
    assert isinstance(unknown.exception, InputError) and "--model or --chat" in str(unknown.exception)


def test_between_sounds_a_quiet_room_is_heard_and_the_sound_itself_is_untouched() -> None:
    sound = np.full(7_000, 0.25, dtype=np.float32)
    padded = append_room_tone(sound, 16_000, 6_400)
    assert len(padded) == 25_600 and np.array_equal(padded[:7_000], sound)
    assert 20 * np.log10(np.sqrt((padded[7_000:] ** 2).mean())) == pytest.approx(ROOM_TONE_DBFS, abs=1.0)
    assert np.array_equal(append_room_tone(sound, 0, 7_000), sound)
