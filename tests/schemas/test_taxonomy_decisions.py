"""Decisions of the built-in taxonomy: a table by hand, and that inflection and word order do not matter."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.schemas.inflection import inflections
from soundflow.schemas.taxonomy import IGNORE_WORDS, RESPOND_WORDS, Task, Urgency, emotion, is_music, kind_of_danger, urgency

TABLE = {
    Urgency.RESPOND: (
        "siren|sirens|Siren wailing|ambulance (siren)|alarm clock|alarm clocks|clock alarm|car alarm|smoke alarm|"
        "smoke detector|fire|fire alarm|fire crackling|burning fires|scream|screaming|screams|woman screamed|baby cry|"
        "crying baby|babies crying|baby cries|sobbing|sobbed|cough|coughing|coughs|sneezing|snoring|choking|gasps|"
        "groaning|door knock|knocking|knock on door|knocks|doorbell|door bell|DoorBell|doorbells|door bells|"
        "phone ringing|telephone ring|telephones|gunshot|gun shot|gun shots|explosion|explosions|exploding|thunder|"
        "thunderstorm|thunder storm|car horn|car_horns|horns honking|car crash|crashing car|glass breaking|"
        "breaking glass|broken glass|glass shatter|shattering glass|glass smashed|GlassBreak|skidding|tires screeching|"
        "screeching tire|engine overheating|overheated engine|sparks|electric sparking|fire truck siren|"
        "fire station alarm|collision|growling dog|building collapse|collapsing"
    ),
    Urgency.IGNORE: (
        "baby laughing|baby laugh|laughter|laughs|giggling|babbling baby|birds|bird_song|chirping bird|rain|raining|"
        "ocean waves|footsteps|foot steps|footstep|walking|keyboard typing|mouse click|clicking|page turning|clapping|"
        "applause|cheering crowd|school bell|church bells|bells|drums|drumming|guitar|cow|cows|ducks|goose|geese|"
        "crickets|bubbles|cat|cats meowing|wind|glass of water"
    ),
    Urgency.BORDERLINE: (
        "fireworks|battle cry|roaring cats (lions, tigers)|telephone dialing|fire works|fireplace|fire place|"
        "fire extinguisher|fire extinguishers|FireTruck|fire trucks|truck fire|fire engine|camp fire|campfire|firefly|"
        "fire wood|firewood|ice cream|ice creams|alarm clock shop|phone shop|phone booth|telephone booth|smoke machine|"
        "French horn|french horns|glass|glasses|glass bottle|wine glass|wood fire|glasses clinking|headphones|microphone|"
        "string|earring|fir tree|painting|hornet|crash cymbal|crow cry bird|baby|unknown thing|dog bark|dogs barking|"
        "crowd cheering and a scream|helicopter|ring tone|ringtone"
    ),
}  # fmt: skip
ROWS = [(label, decision) for decision, labels in TABLE.items() for label in labels.split("|")]


@pytest.mark.parametrize(("label", "decision"), ROWS)
def test_labels_have_the_decision_of_their_sound(label: str, decision: Urgency) -> None:
    assert urgency(label) is decision


def test_the_table_is_large_enough() -> None:
    assert len(ROWS) >= 150


@pytest.mark.parametrize("label", [label for label, _ in ROWS if len(label.split()) <= 4])
def test_word_order_does_not_matter(label: str) -> None:
    assert {urgency(" ".join(order)) for order in permutations(label.split())} == {urgency(label)}


@given(st.sampled_from(sorted(RESPOND_WORDS | IGNORE_WORDS)), st.data())
def test_every_inflection_of_a_word_decides_alike(word: str, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(sorted(inflections(word))))
    before, after = data.draw(st.sampled_from(["", "loud ", "a distant "])), data.draw(st.sampled_from(["", " far away"]))
    assert urgency(f"{before}{form}{after}") is urgency(word) is not Urgency.BORDERLINE


@pytest.mark.parametrize(
    ("caption", "decision"),
    [
        ("the door opens and a small bell is struck", Urgency.IGNORE),  # no doorbell: in a sentence only neighbours are one word
        ("a fire engine with its siren on", Urgency.RESPOND),
        ("a fire engine drives past", Urgency.BORDERLINE),
        ("the engine is on fire", Urgency.RESPOND),
        ("a glass is filled with water", Urgency.IGNORE),
        ("a window of glass breaks", Urgency.RESPOND),
        ("somebody rings at the door bell", Urgency.RESPOND),
    ],
)
def test_captions_are_sentences(caption: str, decision: Urgency) -> None:
    assert urgency("", caption) is decision


def test_kinds_of_danger_emotions_and_music_know_inflections_too() -> None:
    assert {kind_of_danger(label) for label in ("scream", "screams", "screaming")} == {Task.HUMAN_DISTRESS}
    assert {kind_of_danger(label) for label in ("screeching tire", "tires screech")} == {Task.TRAFFIC_DANGER}
    assert {emotion(label) for label in ("crying", "cries", "weeping", "wept")} == {"sad"}
    assert {is_music(label) for label in ("pianos", "drumming", "songs", "sung")} == {True}
