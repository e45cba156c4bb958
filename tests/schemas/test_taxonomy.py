"""What a label says about a sound."""

from __future__ import annotations

import pytest

from soundflow.schemas.taxonomy import Task, Urgency, base_words, kind_of_danger, label_words, urgency


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("ScreechingTires2", ["screeching", "tires"]),
        ("dog_bark-03", ["dog", "bark"]),
        ("BABY cry", ["baby", "cry"]),
        ("42", []),
        ("Türklingel", ["türklingel"]),
        ("Tu\u0308rklingel", ["t\u00fcrklingel"]),
        ("\u0915\u0941\u0924\u094d\u0924\u093e_2", ["\u0915\u0941\u0924\u094d\u0924\u093e"]),
        ("\u06a9\u062a\u0627\u0628\u200c\u0647\u0627", ["\u06a9\u062a\u0627\u0628\u200c\u0647\u0627"]),
        ("driver\u2019s seat", ["driver's", "seat"]),
    ],
)
def test_labels_and_file_names_become_words(label: str, words: list[str]) -> None:
    assert label_words(label) == words


@pytest.mark.parametrize(
    ("label", "verdict"),
    [
        ("Siren", Urgency.RESPOND),
        ("BabyCry", Urgency.RESPOND),
        ("crying baby", Urgency.RESPOND),
        ("baby laughing", Urgency.IGNORE),
        ("baby", Urgency.BORDERLINE),
        ("fire extinguisher", Urgency.BORDERLINE),
        ("FireTruck", Urgency.BORDERLINE),
        ("fire truck siren", Urgency.RESPOND),
        ("fire", Urgency.RESPOND),
        ("glass bottle", Urgency.BORDERLINE),
        ("doorbell", Urgency.RESPOND),
        ("door bell", Urgency.RESPOND),
        ("DoorBell", Urgency.RESPOND),
        ("gun shot", Urgency.RESPOND),
        ("school bell", Urgency.IGNORE),
        ("knock door", Urgency.RESPOND),
        ("alarm clock", Urgency.RESPOND),
        ("GlassBreak", Urgency.RESPOND),
        ("fire crackling with rain", Urgency.RESPOND),
        ("bird_song", Urgency.IGNORE),
        ("crowd cheering and a scream", Urgency.BORDERLINE),
        ("unknown thing", Urgency.BORDERLINE),
    ],
)
def test_urgency_follows_from_the_words(label: str, verdict: Urgency) -> None:
    assert urgency(label) is verdict


@pytest.mark.parametrize(
    ("together", "apart", "verdict", "danger"),
    [
        ("smokealarm", "smoke alarm", Urgency.RESPOND, Task.EQUIPMENT_FAULT),
        ("FireAlarms", "fire alarms", Urgency.RESPOND, Task.EQUIPMENT_FAULT),
        ("babycry", "baby cry", Urgency.RESPOND, Task.HUMAN_DISTRESS),
        ("BABYCRYING", "baby crying", Urgency.RESPOND, Task.HUMAN_DISTRESS),
        ("glassbreak", "glass break", Urgency.RESPOND, Task.ENVIRONMENTAL_HAZARD),
        ("glassbreaking_03", "glass breaking", Urgency.RESPOND, Task.ENVIRONMENTAL_HAZARD),
        ("gunshot", "gun shot", Urgency.RESPOND, Task.ENVIRONMENTAL_HAZARD),
        ("carhorn", "car horn", Urgency.RESPOND, Task.TRAFFIC_DANGER),
        ("carcrash", "car crash", Urgency.RESPOND, Task.TRAFFIC_DANGER),
        ("alarmclock", "alarm clock", Urgency.RESPOND, Task.EQUIPMENT_FAULT),
        ("doorbell", "door bell", Urgency.RESPOND, None),
        ("phoneringing", "phone ringing", Urgency.RESPOND, None),
        ("dogbark", "dog bark", Urgency.BORDERLINE, None),
        ("babylaugh", "baby laugh", Urgency.IGNORE, Task.HUMAN_DISTRESS),
        ("keyboardtyping", "keyboard typing", Urgency.IGNORE, None),
        ("birdsong", "bird song", Urgency.IGNORE, None),
    ],
)
def test_compounds_written_together_have_the_decision_of_their_words(
    together: str, apart: str, verdict: Urgency, danger: Task | None
) -> None:
    assert [urgency(together), urgency(apart), urgency("", f"One hears a {together}.")] == [verdict] * 3
    assert [kind_of_danger(together), kind_of_danger(apart)] == [danger] * 2


@pytest.mark.parametrize(
    "word",
    "carpet barking fireman cowboy headphones microphone catfish rainbow hornet popcorn campaign carpenter bellow".split(),
)
def test_words_that_only_begin_or_end_like_a_known_word_are_not_divided(word: str) -> None:
    assert base_words(word) == [word] and urgency(word) is Urgency.BORDERLINE


@pytest.mark.parametrize("word", ["firetruck", "fireworks", "campfire", "firewood", "smokemachine", "shoehorn", "battlecry"])
def test_compounds_that_name_another_sound_have_no_decision(word: str) -> None:
    assert urgency(word) is urgency("", f"One hears a {word} here.") is Urgency.BORDERLINE


def test_inflections_are_not_divided() -> None:
    assert base_words("alarming sirens gunshots") == ["alarm", "siren", "gunshot"]
