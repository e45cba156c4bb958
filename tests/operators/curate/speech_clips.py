"""Speech clips with word times, for tests of the times of responses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from soundflow.operators.compose.clips import Palette
from soundflow.operators.tasks import POLICIES
from soundflow.schemas.clip import Clip, Word
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import SceneEvent
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.taxonomy import Task
from soundflow.schemas.text import words_of
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import burst, composed

TEXTS = {
    "en": (
        "When the rain stopped, we walked home. It was late!",
        "Hello.",
        "I bought bread, milk and eggs at the shop this morning",
    ),
    "zh": ("雨停了，我们走回家。已经很晚了！", "你好。", "今天早上我在商店买了面包、牛奶和鸡蛋"),
}


def timed(text: str, spans: Sequence[tuple[int, int]]) -> list[Word]:
    return [Word(text=word, start=start, end=end) for word, (start, end) in zip(words_of(text), spans, strict=True)]


def evenly(text: str, samples: int, pause: int = 0) -> list[Word]:
    """Words of equal length with equal pauses, up to the clip's end."""
    words = words_of(text)
    step = samples // len(words)
    return timed(text, [(place * step, (place + 1) * step - pause) for place in range(len(words))])


@st.composite
def word_times(draw: st.DrawFn, text: str, samples: int) -> list[Word]:
    """Any times in order: words may overlap, touch, be empty or lie at the clip's very end."""
    count = len(words_of(text))
    starts = sorted(draw(st.lists(st.integers(0, samples), min_size=count, max_size=count)))
    ends = sorted(draw(st.lists(st.integers(0, samples), min_size=count, max_size=count)))
    pairs = list(zip(starts, map(max, starts, ends), strict=True))
    return timed(text, pairs)


@dataclasses.dataclass
class Spoken:
    """Some speech clips one after the other, as a policy answers them."""

    pool: MemoryPool
    clips: list[Clip]
    plan: StreamPlan


@st.composite
def streams(draw: st.DrawFn, task: Task) -> Spoken:
    """One to four speech clips (with distractors between) answered by the policy of `task`, composed."""
    pool, clips = MemoryPool(), []
    source = draw(st.sampled_from(["en", "zh"]))
    target = "zh" if source == "en" else "en"
    for number in range(draw(st.integers(1, 4))):
        samples = draw(st.sampled_from([6_400, 9_999, 30_000]))
        place = draw(st.integers(0, 2))
        text, translation = TEXTS[source][place], TEXTS[target][place]
        about = {"transcript": text, "translation": translation, "language": source, "translation_language": target}
        words = draw(word_times(text, samples))
        clips.append(pool.add(f"speech {number}", burst(samples, number), label="speech", words=words, reply="Yes.", **about))
        if draw(st.booleans()):
            clips.append(pool.add(f"sound {number}", burst(3_000, 50 + number), label="owl"))
    policy, rng = POLICIES[task], np.random.default_rng(0)
    events = [
        SceneEvent(
            clip_id=clip.id,
            role=clip.role,
            responses=policy.draw_responses(clip, policy.respond_to_clip(clip), SceneConfig(), rng),
            gap=draw(st.sampled_from([0, 1, 6_400, 7_001])),
        )
        for clip in clips
    ]
    brief = policy.draw_brief(clips, Palette(), rng)
    assert brief is not None
    told = {"task": task, "brief": brief, "instruction": policy.instructions(brief)[0]}
    return Spoken(pool, clips, composed(pool, events)[0].model_copy(update=told))
