"""Sub-tasks about speech, chunk by chunk: a word where it ends, a reply where the turn ends, no translation before its source."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.planning import available_tasks, plan_scene
from soundflow.operators.speech.clauses import LAG, LONGEST, PAUSE, clause_ends, wait_k
from soundflow.operators.tasks import POLICIES
from soundflow.operators.tasks.policy import ResponseOption, turn_end
from soundflow.operators.tasks.streaming_asr import StreamingAsr
from soundflow.operators.tasks.supervision import find_disagreements
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip, Word
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe, SceneConfig
from soundflow.schemas.scene import Scene, nfc
from soundflow.schemas.stream import PlannedPiece, due_chunk, timeline_of
from soundflow.schemas.taxonomy import Capability, Task
from soundflow.schemas.text import join_texts, words_of
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import burst
from tests.operators.curate.speech_clips import TEXTS, Spoken, evenly, streams, timed, word_times

KEPT = {"role", "label", "transcript", "reply", "language", "dialogue", "turn", "voice", "translation", "translation_language"}
"""Fields of a clip that its source states."""
SPOKEN = {Capability.ASR, Capability.TRANSLATION, Capability.CHAT}


def scene_of(pool: MemoryPool, task: Task, index: int, **scene: object) -> Scene:
    document = {"clips": "x", "streams": 10, "shards": 1, "tasks": {task.value: 1}, "scene": {"events": [3, 6]} | scene}
    outcome = plan_scene(Recipe.model_validate(document), Palette.of(pool), pool, rng_for("ab" * 32, 0, index, "scene"))
    assert isinstance(outcome, Ok)
    return outcome.value


@given(streams(Task.STREAMING_ASR))
def test_each_chunk_is_answered_with_exactly_the_words_that_end_in_it(spoken: Spoken) -> None:
    plan = spoken.plan
    ends = [
        (due_chunk(place.offset + max(word.end, 1)), word.text)
        for clip, place in zip(spoken.clips, plan.clips, strict=True)
        for word in clip.words
        if clip.kind == "speech"
    ]
    expected = [(chunk, join_texts(text for _, text in words)) for chunk, words in groupby(ends, key=lambda pair: pair[0])]
    assert plan.timeline() == expected
    assert all(response.chunk == response.due_chunk for response in plan.responses)
    assert join_texts(text for _, text in plan.timeline()) == join_texts(
        clip.transcript for clip in spoken.clips if clip.transcript
    )
    assert find_disagreements(plan) == []


@pytest.mark.parametrize(
    ("last", "chunk"),
    [(12_799, 2), (12_800, 2), (12_801, 3), (16_000, 3)],
)
def test_the_last_word_is_written_in_the_chunk_it_ends_in(last: int, chunk: int) -> None:
    # A clip of 1 s at the start of a stream of three chunks of 6,400 samples.
    words = timed("Hello there.", [(0, 6_400), (6_400, last)])
    clip = MemoryPool().add("x", burst(16_000), transcript="Hello there.", words=words)
    responses = StreamingAsr().schedule(clip, ResponseOption("Hello there.", "transcript"), SceneConfig())
    pieces = [PlannedPiece(event=0, text=one.text, source="x", evidence=one.evidence, joins=one.joins) for one in responses]
    assert [(one.chunk, one.text) for one in timeline_of(pieces)] == [(1, "Hello"), (chunk, "there.")]


@given(streams(Task.SIMULTANEOUS_INTERPRETATION))
def test_nothing_is_interpreted_before_its_source_was_heard_and_all_of_it_once_in_order(spoken: Spoken) -> None:
    plan = spoken.plan
    texts: dict[int, list[str]] = {}
    for response in plan.responses:
        for piece in response.pieces:
            clip, place = spoken.clips[piece.event], plan.clips[piece.event]
            texts.setdefault(piece.event, []).append(piece.text)
            ended = [word for word in clip.words if place.offset + word.end <= response.chunk * c.CHUNK_SAMPLES]
            share = len(words_of(join_texts(texts[piece.event]))) / len(words_of(clip.translation or ""))
            assert len(ended) == len(clip.words) or share <= max(len(ended) - LAG, 0) / len(clip.words)
            assert response.chunk * c.CHUNK_SAMPLES >= piece.evidence > place.offset
    for number, clip in enumerate(spoken.clips):
        assert join_texts(texts.get(number, [])) == (clip.translation or "")
    assert find_disagreements(plan) == []


@given(streams(Task.VOICE_CHAT))
def test_a_reply_opens_at_the_chunk_that_holds_the_end_of_the_turn_or_the_next_free_one(spoken: Spoken) -> None:
    plan, free = spoken.plan, 0
    turns = [(clip, place) for clip, place in zip(spoken.clips, plan.clips, strict=True) if clip.kind == "speech"]
    assert len(plan.responses) == len(turns)
    for response, (clip, place) in zip(plan.responses, turns, strict=True):
        free = max(free + 1, due_chunk(place.offset + turn_end(clip)))
        assert response.chunk == free and response.chunk * c.CHUNK_SAMPLES >= place.offset + clip.words[-1].end


@pytest.mark.parametrize(("last_word", "after"), [(0, 0), (1_600, 0), (3_200, 0), (3_201, 3_201), (6_400, 6_400)])
def test_a_turn_ends_with_its_last_word_and_what_is_heard_close_behind_it(last_word: int, after: int) -> None:
    clip = MemoryPool().add("x", burst(16_000), transcript="Hello there.")
    end = clip.active_end
    assert turn_end(clip) == end
    words = timed("Hello there.", [(0, 4_000), (4_000, end - last_word)])
    assert turn_end(clip.model_copy(update={"words": tuple(words)})) == end - after


@given(st.data(), st.sampled_from(["en", "zh"]), st.integers(0, 2), st.integers(0, 2))
def test_segments_are_the_translation_and_stay_behind_the_speaker(
    data: st.DataObject, source: str, text: int, other: int
) -> None:
    words = data.draw(word_times(TEXTS[source][text], 30_000))
    translation = TEXTS["zh" if source == "en" else "en"][other]
    segments, pieces, length = wait_k(words, translation), len(words_of(translation)), 0
    assert join_texts(segment.text for segment in segments) == translation
    assert segments[-1].words == len(words) and all(a.words < b.words for a, b in pairwise(segments))
    assert {segment.words for segment in segments} <= set(clause_ends(words))
    for segment in segments[:-1]:
        length += len(words_of(segment.text))
        assert 0 < length <= (segment.words - LAG) / len(words) * pieces


@given(st.data(), st.sampled_from(["en", "zh"]), st.integers(0, 2))
def test_clauses_end_at_sentences_and_never_grow_long(data: st.DataObject, language: str, text: int) -> None:
    words = data.draw(word_times(TEXTS[language][text], 30_000))
    ends = clause_ends(words)
    assert ends == sorted(set(ends)) and ends[-1] == len(words) and ends[0] > 0
    assert all(place in ends for place, word in enumerate(words, start=1) if word.text[-1] in ".!。！")
    assert all(after - before <= 2 * LONGEST for before, after in pairwise([0, *ends]))


def test_a_pause_parts_clauses_and_a_word_alone_is_none() -> None:
    text = "one two three four five six seven eight"
    assert clause_ends(evenly(text, 64_000)) == [8]
    words = evenly(text, 64_000)
    paused = [Word(text=w.text, start=w.start, end=w.end - PAUSE if place in (0, 3) else w.end) for place, w in enumerate(words)]
    assert clause_ends(paused) == [4, 8]
    assert clause_ends(evenly("word " * 29 + "end", 64_000)) == [12, 24, 30]


def test_an_interpreter_follows_clause_by_clause() -> None:
    words = evenly("When the rain stopped, we walked home. It was late!", 64_000)
    assert [(segment.text, segment.words) for segment in wait_k(words, "雨停了，我们走回家。已经很晚了！")] == [
        ("雨", 4),
        ("停了，", 7),
        ("我们走回家。已经很晚了！", 10),
    ]


def test_without_word_times_speech_is_written_and_answered_at_its_end() -> None:
    clip = MemoryPool().add(
        "x", burst(16_000), transcript="Hello there.", reply="Hi.", translation="你好。", translation_language="zh"
    )
    for task in (Task.STREAMING_ASR, Task.VOICE_CHAT, Task.SIMULTANEOUS_INTERPRETATION):
        policy = POLICIES[task]
        (response,) = policy.draw_responses(clip, policy.respond_to_clip(clip), SceneConfig(), np.random.default_rng(0))
        assert response.evidence == clip.active_end and not response.joins


def test_words_that_change_under_normalisation_are_still_all_there() -> None:
    text = "Cafe\u0301 ma\u0301s Å가 が."
    clip = MemoryPool().add("x", burst(16_000), transcript=text, words=evenly(text, 16_000))
    policy = POLICIES[Task.STREAMING_ASR]
    responses = policy.draw_responses(clip, policy.respond_to_clip(clip), SceneConfig(), np.random.default_rng(0))
    assert join_texts(response.text for response in responses) == nfc(text)


@pytest.fixture(scope="module")
def pool() -> MemoryPool:
    """Dialogues (one with a silent turn, one with a hole, one without its beginning), single turns, two directions, sounds."""
    made = MemoryPool()

    def add(name: str, seed: int, text: str = "Hello there, my friend.", **more: object) -> Clip:
        return made.add(name, burst(12_000, seed), transcript=text, words=evenly(text, 12_000), **more)

    for number in range(5):
        reply = "" if number == 2 else f"reply {number}"
        add(f"long/{number}", number, dialogue="long", turn=number, reply=reply or None, voice="a")
        if number != 2:
            add(f"hole/{number}", 10 + number, dialogue="hole", turn=number, reply=f"hole {number}", voice="b")
        add(f"late/{number}", 20 + number, dialogue="late", turn=number + 2, reply="late", voice="c")
        add(f"single/{number}", 30 + number, reply="single", source=f"speaker{number % 2}")
        add(f"en/{number}", 40 + number, language="en-GB", translation="你好，我的朋友。", translation_language="zh-CN")
        text = "你好，我的朋友。"
        add(f"zh/{number}", 50 + number, text, language="zh", translation="Hello.", translation_language="en")
        add(f"same/{number}", 60 + number, language="en", translation="Hello.", translation_language="en-US")
        made.add(f"sound/{number}", burst(5_000, 70 + number), label="owl")
    return made


@given(index=st.integers(0, 10_000))
def test_a_dialogue_is_played_from_its_first_turn_on_and_is_never_mixed(pool: MemoryPool, index: int) -> None:
    scene = scene_of(pool, Task.VOICE_CHAT, index)
    clips = [pool.get(event.clip_id) for event in scene.events if event.role == "foreground"]
    names = {clip.dialogue for clip in clips if clip.kind == "speech"}
    assert len(names) == 1 and names <= {"long", "hole", ""}  # their voices differ, so none is followed by another
    if names != {""}:
        assert [clip.turn for clip in clips if clip.kind == "speech"] == list(range(sum(clip.kind == "speech" for clip in clips)))
    if names == {"hole"}:
        assert sum(clip.kind == "speech" for clip in clips) <= 2
    for event, clip in zip(scene.events, clips, strict=False):
        assert [response.text for response in event.responses] == ([clip.reply] if clip.reply else [])


def test_dialogues_too_short_for_a_stream_follow_each_other_in_one_voice() -> None:
    made = MemoryPool()
    for number in range(12):
        made.add(
            f"qa {number}",
            burst(9_000, number),
            transcript="Hello.",
            reply="Hi.",
            dialogue=f"d{number}",
            turn=0,
            voice=f"v{number % 2}",
        )
    for number in range(5):
        more = {"transcript": "Hello.", "reply": "Hi.", "dialogue": "long", "turn": number, "voice": "v2"}
        made.add(f"long {number}", burst(9_000, 50 + number), **more)
    lengths = set()
    for index in range(40):
        clips = [made.get(event.clip_id) for event in scene_of(made, Task.VOICE_CHAT, index, events=[3, 6]).events]
        assert len({clip.voice for clip in clips}) == 1
        lengths.add((clips[0].dialogue == "long", len(clips)))
    assert {count for long, count in lengths if not long} == {3} and {count for long, count in lengths if long} <= {3, 4, 5}


def test_every_kind_of_conversation_is_drawn(pool: MemoryPool) -> None:
    first = [pool.get(scene_of(pool, Task.VOICE_CHAT, index).events[0].clip_id) for index in range(60)]
    assert {clip.dialogue for clip in first} == {"long", "hole", ""}


@given(index=st.integers(0, 10_000))
def test_a_stream_is_interpreted_in_one_direction_and_its_instruction_names_the_language(pool: MemoryPool, index: int) -> None:
    scene = scene_of(pool, Task.SIMULTANEOUS_INTERPRETATION, index, events=[3, 12])
    speech = [clip for event in scene.events if (clip := pool.get(event.clip_id)).kind == "speech"]
    into = {clip.translation_language for clip in speech}
    assert (
        len(into) == 1 and len({clip.language for clip in speech}) == 1 and not any(clip.id.startswith("same") for clip in speech)
    )
    assert ("Chinese" if into == {"zh-CN"} else "English") in scene.instruction


@given(index=st.integers(0, 10_000))
def test_only_timed_speech_is_written_where_there_is_any(index: int) -> None:
    mixed = MemoryPool()
    for number in range(4):
        text = f"sentence number {number}"
        mixed.add(f"timed {number}", burst(9_000, number), transcript=text, words=evenly(text, 9_000))
        mixed.add(f"plain {number}", burst(9_000, 10 + number), transcript=text)
    scene = scene_of(mixed, Task.STREAMING_ASR, index)
    assert all(event.clip_id.startswith("timed") for event in scene.events)
    assert "word" in scene.instruction and "utterance" not in scene.instruction


def test_a_model_that_plans_cannot_mix_directions(pool: MemoryPool) -> None:
    policy = POLICIES[Task.SIMULTANEOUS_INTERPRETATION]
    english, chinese, owl = pool.get("en/0"), pool.get("zh/0"), pool.get("sound/0")
    assert policy.can_play_with(english, [owl, pool.get("en/1")]) and policy.can_play_with(owl, [chinese])
    assert not policy.can_play_with(english, [owl, chinese])
    assert policy.can_play(english, True) and not policy.can_play(pool.get("same/0"), True) and not policy.can_play(owl, True)


def test_no_sub_task_uses_speech_whose_transcript_was_rejected_unless_allowed(pool: MemoryPool) -> None:
    rejecting = MemoryPool()
    for clip_id in [brief.id for brief in pool.briefs()]:
        clip = pool.get(clip_id)
        reason = {"transcript_rejected": "does_not_fit", "words": (), "segments": ()} if clip.kind == "speech" else {}
        rejecting.add(clip_id, pool.audio(clip), **{**clip.model_dump(include=KEPT), **reason})
    strict = Palette.of(rejecting)
    spoken = {brief.id for brief in rejecting.briefs() if brief.kind == "speech"}
    assert {clip.id for clip in strict.rejected} == spoken
    assert not strict.speech and not strict.turns and not any(task.capability in SPOKEN for task in available_tasks(strict))
    for task in available_tasks(strict):
        needed = POLICIES[task].required_clips(strict).values()
        assert not spoken & {clip.id for clips in needed for clip in clips}
    lenient = Palette.of(rejecting, use_rejected=True)
    assert {clip.id for clip in lenient.speech} == spoken and Task.VOICE_CHAT in available_tasks(lenient)


def test_an_index_without_translations_serves_no_interpretation(pool: MemoryPool) -> None:
    assert Task.SIMULTANEOUS_INTERPRETATION in available_tasks(Palette.of(pool))
    plain = MemoryPool()
    plain.add("x", burst(9_000), transcript="Hello.", translation="你好。", translation_language="zh", language="en")
    assert Task.SIMULTANEOUS_INTERPRETATION not in available_tasks(Palette.of(plain))


def test_a_model_that_plans_may_begin_a_dialogue_but_not_enter_it_in_the_middle(pool: MemoryPool) -> None:
    policy = POLICIES[Task.VOICE_CHAT]
    assert policy.can_play(pool.get("long/0"), True) and policy.can_play(pool.get("single/3"), True)
    assert not policy.can_play(pool.get("long/3"), True) and not policy.can_play(pool.get("long/2"), True)
