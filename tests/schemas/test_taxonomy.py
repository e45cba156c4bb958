"""What a label says about a sound."""

from __future__ import annotations

import pytest

from soundflow.schemas.taxonomy import Urgency, label_words, urgency


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
