"""What each sub-task promises, checked on stored plans by rules written down once more: not by the policies' own code."""

from __future__ import annotations

from collections.abc import Callable

from soundflow import prompts
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.decision import danger_of, decision_of
from soundflow.schemas.stream import PlannedClip, StreamPlan
from soundflow.schemas.taxonomy import Capability, Task, Urgency, emotion, is_music, label_words

Said = list[tuple[PlannedClip, str]]
"""The foreground in order, and what is said at each clip ("" for nothing)."""


def said_at(plan: StreamPlan) -> Said:
    told = {number: "" for number, clip in enumerate(plan.clips) if clip.role is ClipRole.FOREGROUND}
    for response in plan.responses:
        for piece in response.pieces:
            assert piece.event in told, "a response to what is not in the foreground"
            clip = plan.clips[piece.event]
            assert clip.offset < piece.evidence <= clip.offset + clip.length, "evidence outside of the clip"
            assert response.chunk * 6_400 >= piece.evidence, "said before it was heard"
            told[piece.event] += piece.text
    return [(plan.clips[number], text) for number, text in told.items()]


def obeyed(plan: StreamPlan) -> list[str]:
    """Each clip whose answer is not the sub-task's; empty when the policy was obeyed."""
    rule = RULES.get(plan.task) or BY_CAPABILITY[plan.task.capability]
    said = said_at(plan)
    wanted = rule(plan, said)
    assert len(wanted) == len(said)
    return [
        f"{plan.task.value}: {clip.label} ({clip.transcript}) got {text!r}, wanted {want!r}"
        for (clip, text), want in zip(said, wanted, strict=True)
        if (want is None) != (not text) or (want is not None and _flat(want) not in _flat(text))
    ]


def _flat(text: str) -> str:
    return "".join(text.split())


Rule = Callable[[StreamPlan, Said], list[str | None]]
"""For each clip a text that its answer contains; None for silence."""


def name(clip: PlannedClip) -> str:
    return " ".join(label_words(clip.label))


def heard(clip: PlannedClip) -> str:
    return clip.caption if " " in clip.caption and label_words(clip.caption) != label_words(clip.label) else name(clip)


def asr(plan: StreamPlan, said: Said) -> list[str | None]:
    for clip, _ in said:
        wild, accented = "telephone" in clip.label, "accented" in clip.label or clip.language == "en-GB"
        kind = Task.ASR_IN_THE_WILD if wild else Task.ASR_ACCENTED if accented else Task.ASR_ENGLISH
        assert clip.kind == "sound" or plan.task is (Task.ASR_MANDARIN if clip.language.startswith("zh") else kind)
    return [clip.transcript for clip, _ in said]


def translation(plan: StreamPlan, said: Said) -> list[str | None]:
    to = "Chinese" if plan.task.value.endswith("en_zh") else "English"
    into = {clip.translation_language.partition("-")[0] for clip, _ in said if clip.transcript}
    assert to in plan.instruction and into == {"zh" if to == "Chinese" else "en"}
    return [clip.translation for clip, _ in said]


def chat(plan: StreamPlan, said: Said) -> list[str | None]:
    wanted: list[str | None] = []
    first: PlannedClip | None = None
    turns = 0
    for clip, _ in said:
        kind = prompts.question_kind(clip.transcript or "")
        if clip.kind == "sound":
            wanted.append(heard(clip) if decision_of(clip) is Urgency.RESPOND else None)
            assert wanted[-1] is None or "voice" in plan.instruction or "speak up" in plan.instruction
        elif kind.startswith("review_") and not clip.reply:
            assert turns >= 3 and first is not None
            wanted.append(first.transcript if kind == "review_first" else first.reply)
        else:
            wanted.append(clip.reply or None)
            first, turns = first or clip, turns + 1
    if plan.task is Task.CHAT_HISTORY:
        last = next(clip for clip, _ in reversed(said) if clip.kind == "speech")
        assert "review" in last.label or prompts.question_kind(last.transcript or "").startswith("review")
    return wanted


def proactive(plan: StreamPlan, said: Said) -> list[str | None]:
    kinds = [danger_of(clip) for clip, _ in said]
    assert {kind for kind in kinds if kind} <= {plan.task}
    assert all(kind or decision_of(clip) is Urgency.IGNORE for kind, (clip, _) in zip(kinds, said, strict=True))
    return [heard(clip) if kind else None for kind, (clip, _) in zip(kinds, said, strict=True)]


def counting(plan: StreamPlan, said: Said) -> list[str | None]:
    target, count, wanted = str(plan.brief["sound"]), 0, []
    assert f"{target}" in plan.instruction
    for clip, _ in said:
        count += name(clip) == target
        wanted.append(str(count) if name(clip) == target else None)
    assert count > 1
    return wanted


def standing(plan: StreamPlan, said: Said) -> list[str | None]:
    target = str(plan.brief["sound"])
    assert target in plan.instruction
    return [target if name(clip) == target else None for clip, _ in said]


def conditional(plan: StreamPlan, said: Said) -> list[str | None]:
    target, phrase = str(plan.brief["sound"]), str(plan.brief["phrase"])
    assert target in plan.instruction and phrase in plan.instruction and sum(bool(text) for _, text in said) == 1
    seen, ready, done, wanted = 0, "first" not in plan.brief, False, []
    for clip, _ in said:
        seen += name(clip) == target
        fires = ready and not done and name(clip) == target and seen >= int(str(plan.brief.get("times", 1)))
        wanted.append(phrase if fires else None)
        done, ready = done or fires, ready or name(clip) == plan.brief.get("first")
    return wanted


def open_qa(plan: StreamPlan, said: Said) -> list[str | None]:
    before: list[PlannedClip] = []
    wanted: list[str | None] = []
    for place, (clip, _) in enumerate(said):
        kind = prompts.question_kind(clip.transcript or "")
        if clip.kind == "speech":
            assert plan.brief["question"] == "spoken" and before
            answers = {"sound_last": heard(before[-1]), "sound_first": heard(before[0]), "sound_count": str(len(before))}
            wanted.append(answers[kind])
            continue
        before.append(clip)
        question = plan.brief["question"]
        if question == "spoken" or place < len(said) - 1:
            wanted.append(None)
        else:
            assert str(len(said)) in plan.instruction
            kinds = len({name(clip) for clip in before})
            told = {
                "first": heard(before[0]),
                "second": heard(before[min(1, len(before) - 1)]),
                "kinds": "one" if kinds == 1 else str(kinds),
            }
            wanted.append(told[str(question)] if kinds > 1 or question != "kinds" else "kind")
    return wanted


def choice(plan: StreamPlan, said: Said) -> list[str | None]:
    options = plan.brief["options"]
    assert isinstance(options, tuple) and 3 <= len(options) <= 4
    letters = {option: f"{'ABCD'[place]}: {option}" for place, option in enumerate(options)}
    assert all(told in plan.instruction for told in letters.values())
    heard_options = [clip for clip, _ in said if name(clip) in options]
    assert plan.task is not Task.MUSIC_CHOICE_QA or all(is_music(clip.label, clip.caption) for clip in heard_options)
    wanted = [letters.get(name(clip)) for clip, _ in said]
    assert set(wanted) - {None}
    return wanted


def scene(plan: StreamPlan, said: Said) -> list[str | None]:
    assert str(len(said)) in plan.instruction
    return [*[None] * (len(said) - 1), ", then ".join(heard(clip) for clip, _ in said)]


def mixed(plan: StreamPlan, said: Said) -> list[str | None]:
    target = str(plan.brief["sound"])
    wanted: list[str | None] = []
    for clip, _ in said:
        alarming = clip.kind == "sound" and decision_of(clip) is Urgency.RESPOND
        sound = heard(clip) if alarming else target if name(clip) == target else None
        wanted.append((clip.reply or clip.transcript) if clip.kind == "speech" else sound)
    return wanted


def music(plan: StreamPlan, said: Said) -> list[str | None]:
    return [heard(clip) if is_music(clip.label, clip.caption) else None for clip, _ in said]


BY_CAPABILITY: dict[Capability, Rule] = {
    Capability.ASR: asr,
    Capability.TRANSLATION: translation,
    Capability.CHAT: chat,
    Capability.PROACTIVE: proactive,
    Capability.MUSIC: music,
}
RULES: dict[Task, Rule] = {
    Task.EVENT_DESCRIPTION: lambda plan, said: [heard(clip) for clip, _ in said],
    Task.AUDIO_OPEN_QA: open_qa,
    Task.AUDIO_CHOICE_QA: choice,
    Task.MUSIC_CHOICE_QA: choice,
    Task.EVENT_COUNTING: counting,
    Task.SCENE_DESCRIPTION: scene,
    Task.SPEECH_EMOTION: lambda plan, said: [emotion(clip.label) or None for clip, _ in said],
    Task.STANDING_INSTRUCTION: standing,
    Task.CONDITIONAL_TRIGGER: conditional,
    Task.MIXED_TASK: mixed,
}
