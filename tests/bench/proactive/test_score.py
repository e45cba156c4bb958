"""ProactiveSound-Bench's scorer: hand-computed cases, and every way a public scorer was seen to flatter a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from soundflow.bench.proactive.metadata import Decision, Prediction, parse_answer, parse_decision, read_predictions, read_sounds
from soundflow.bench.proactive.score import score
from soundflow.schemas.base import InputError
from tests.bench.proactive_world import PUBLISHED, SMALL, rows_of, write


def test_always_silent_scores_what_the_classes_give_it_and_no_more(tmp_path: Path) -> None:
    rows = rows_of(PUBLISHED)
    sounds = read_sounds(write(tmp_path / "meta.jsonl", rows))
    assert len(sounds) == 644 and len({(sound.domain, sound.category) for sound in sounds}) == 17
    silent = {sound.id: Prediction(id=sound.id, decision=Decision.IGNORE) for sound in sounds}
    result = score(sounds, silent).to_json()
    assert round(result["accuracy"], 4) == 0.5854 and result["balanced_accuracy"] == 0.5
    assert result["precision"] is None and result["recall"] == 0.0
    assert result["baselines"]["never respond"]["accuracy"] == result["accuracy"]
    assert round(result["baselines"]["always respond"]["accuracy"], 4) == round(267 / 644, 4)
    low, high = result["intervals"]["accuracy"]
    assert 0.54 < low < 0.5854 < high < 0.63


def test_a_hand_computed_case(tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", SMALL))
    respond, ignore = Decision.RESPOND, Decision.IGNORE
    # vehicle: RESPOND hit, RESPOND missed, IGNORE answered, IGNORE ignored, IGNORE unreadable; music: RESPOND not predicted
    decisions = [respond, ignore, respond, ignore, None]
    predictions = {
        sound.id: Prediction(id=sound.id, decision=decision) for sound, decision in zip(sounds, decisions, strict=False)
    }
    found = score(sounds, predictions)
    assert found.counts.accuracy == 2 / 6 and found.counts.recall == 1 / 3 and found.counts.specificity == 1 / 3
    assert found.counts.precision == 1 / 2 and found.counts.balanced_accuracy == pytest.approx(1 / 3)
    assert found.counts.f1 == pytest.approx(2 * 0.5 * (1 / 3) / (0.5 + 1 / 3))
    assert (found.n, found.missing, found.unreadable) == (6, 1, 1)
    assert found.domains["Music"].accuracy == 0.0 and found.domains["Traffic"].accuracy == 2 / 5
    assert found.categories["Traffic / Vehicle"] == found.domains["Traffic"]
    assert "6 sounds, 1 missing, 1 unreadable" in found.lines()[-1]


def test_one_answered_sound_of_many_is_no_hundred_percent(tmp_path: Path) -> None:
    rows = rows_of(PUBLISHED)
    sounds = read_sounds(write(tmp_path / "meta.jsonl", rows))
    one = write(tmp_path / "one.jsonl", [{"id": rows[0]["id"], "decision": "RESPOND", "reply": ""}])
    found = score(sounds, read_predictions(one, {sound.id for sound in sounds}))
    assert found.counts.accuracy == 1 / 644 and found.missing == 643


def test_answers_with_thoughts_are_counted(tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", SMALL))
    names = [sound.id for sound in sounds]
    rows: list[dict[str, str]] = [
        {"id": names[0], "_raw_reply": "<think>Hm.</think><Decision>RESPOND</Decision><Reply>Hi.</Reply>"},
        {"id": names[1], "decision": "<think>Hm.</think>Respond.", "reply": "<think>Hm.</think>Hello."},
        {"id": names[2], "_raw_reply": "<think>Hm. <Decision>RESPOND</Decision>"},
        {"id": names[3], "decision": "IGNORE", "reply": ""},
    ]
    found = read_predictions(write(tmp_path / "p.jsonl", rows), set(names))
    assert [found[name].decision for name in names[:4]] == [Decision.RESPOND, Decision.RESPOND, None, Decision.IGNORE]
    assert [found[name].reply for name in names[:2]] == ["Hi.", "Hello."]
    result = score(sounds, found)
    assert (result.thoughts, result.unreadable) == (3, 1) and result.to_json()["thoughts"] == 3
    assert result.lines()[-1] == "answers with thoughts of the model, which are not scored: 3"


def test_intervals_do_not_depend_on_the_run(tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", SMALL))
    assert score(sounds, {}).to_json() == score(sounds, {}).to_json()


@pytest.mark.parametrize(
    ("text", "decision", "reply"),
    [
        ("<Decision>RESPOND</Decision><Reply>Check the stove.</Reply>", Decision.RESPOND, "Check the stove."),
        ("thinking…\n<decision> ignore </decision>\n<reply></reply>", Decision.IGNORE, ""),
        ("<Decision>RESPOND</Decision><Reply>cut off in mid-", Decision.RESPOND, ""),
        ("< Decision >I would IGNORE it, not RESPOND</ Decision >", Decision.IGNORE, ""),
        ("<think><Decision>IGNORE</Decision></think><Decision>RESPOND</Decision><Reply>Hi.</Reply>", Decision.RESPOND, "Hi."),
        ("<think>or <Decision>RESPOND</Decision>", None, ""),
        ("Ignore.", None, ""),
        ("No Reply", None, ""),
        ("<Decision>RESPONDING</Decision>", None, ""),
        ("RESPOND or IGNORE", None, ""),
        ("<Decision>maybe</Decision><Reply>x</Reply>", None, "x"),
        ("", None, ""),
    ],
)
def test_answers_to_the_public_prompt_are_read(text: str, decision: Decision | None, reply: str) -> None:
    assert parse_answer(text) == (decision, reply)


@pytest.mark.parametrize("value", [None, 1, True, ["RESPOND"], "yes", "RESPONDING", ""])
def test_what_is_no_decision_is_unreadable(value: object) -> None:
    assert parse_decision(value) is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{oops\n"], "line 1: is not JSON"),
        ([SMALL[0], [1]], "line 2: is not a JSON object"),
        ([SMALL[0] | {"decision": "MAYBE"}], "line 1: decision"),
        ([SMALL[0] | {"path": "a.wav"}], "line 1: path"),
        ([SMALL[0], SMALL[0]], "line 2: id: is a duplicate"),
        ([SMALL[0] | {"sound": 1}], "unknown field"),
        ([], "contains no rows"),
    ],
)
def test_bad_metadata_is_reported_with_its_row(rows: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_sounds(write(tmp_path / "meta.jsonl", rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "unknown", "decision": "IGNORE"}], "line 1: id: is not a sound of the metadata"),
        ([{"decision": "IGNORE"}], "line 1: id"),
        ([{"id": SMALL[0]["id"], "decision": "IGNORE"}] * 2, "line 2: id: is a duplicate"),
        (["null\n"], "line 1: is not a JSON object"),
        ([{"id": SMALL[0]["id"], "answer": "respond"}], "line 1: answer: .* Did you mean `decision`"),
    ],
)
def test_bad_predictions_are_reported_with_their_row(rows: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_predictions(write(tmp_path / "predictions.jsonl", rows), {row["id"] for row in SMALL})


@pytest.mark.parametrize(
    ("row", "decision", "reply"),
    [
        ({"decision": "respond", "reply": "Check it."}, Decision.RESPOND, "Check it."),
        ({"decision": "", "_raw_reply": "<Decision>IGNORE</Decision><Reply>No</Reply>"}, Decision.IGNORE, "No"),
        ({"decision": "RESPOND", "reply": "<Decision>RESPOND</Decision><Reply>Go</Reply>"}, Decision.RESPOND, "Go"),
        ({"decision": "maybe", "_raw_reply": "<Decision>RESPOND</Decision>"}, None, ""),
        ({"reply": "<Decision>RESPOND</Decision><Reply>Go</Reply>"}, Decision.RESPOND, "Go"),
        ({"decision": False}, None, ""),
        ({"answer": "RESPOND", "answered_by": "our own run"}, None, ""),
        ({"_raw_reply": "RESPOND"}, None, ""),
        ({}, None, ""),
    ],
)
def test_both_forms_of_a_prediction(row: dict[str, Any], decision: Decision | None, reply: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": SMALL[0]["id"], **row}])
    found = read_predictions(path, {SMALL[0]["id"]})[SMALL[0]["id"]]
    assert (found.decision, found.reply) == (decision, reply)
