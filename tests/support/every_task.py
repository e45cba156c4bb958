"""Clips that serve every one of the 28 sub-tasks, for tests: rows of a manifest, and the sound of each."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np

from soundflow.schemas.clip import Word
from soundflow.schemas.text import words_of
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import burst

Row = dict[str, Any]

SOUNDS: Final = (
    ("dog bark", "a dog barking", 3), ("cat meow", "a cat meowing", 2), ("sneeze", "a man sneezing", 2), ("owl", "", 1),
    ("bird chirp", "a bird chirping", 2), ("typing", "someone typing", 1), ("rain", "rain", 1), 
    ("applause", "an audience clapping", 1),
    ("scream", "a woman screaming", 2), ("baby cry", "a baby crying", 1), ("laugh", "a man laughing", 2),
    ("machine breakdown", "a machine breaking down", 2), ("sparking", "electric sparks", 1), ("smoke alarm", "a smoke alarm", 1),
    ("explosion", "an explosion", 1), ("glass break", "glass breaking", 1), ("thunder", "thunder rolling", 1),
    ("car horn", "a car horn", 2), ("siren", "a siren passing", 1), ("level crossing", "the signal of a level crossing", 1),
    ("guitar", "guitar chords", 2), ("piano", "a piano playing", 1), ("drum", "a drum roll", 2), ("flute", "", 1),
    ("xylophone", "a xylophone playing", 1),
)  # fmt: skip
"""Label, caption, how many."""
CHATS: Final = (
    ("bread", "discussion", ("I want to bake bread.", "Flour, water, salt and yeast."), ("How long does it rest?", "Two hours."),
     ("How hot is the oven?", "Two hundred and forty degrees."), ("And when is it done?", "When it sounds hollow.")),
    ("train", "speech", ("When does the train leave?", "At eight."), ("From which platform?", "Four."), ("Am I late?", "No."),
     ("Thank you.", "You are welcome."), ("Good night.", "")),
    ("trip", "speech", ("My sister lives in Oslo.", "How nice."), ("I go there in May.", "By train?"), ("By ship.", "Enjoy it."),
     ("Where did I say she lives?", "In Oslo.")),
)  # fmt: skip
"""Name, label, (user, assistant)…; the last one ends with a question about an earlier turn."""


def rows() -> list[Row]:
    """All of them, as rows of a manifest but for the audio."""
    made: list[Row] = []
    for label, caption, count in SOUNDS:
        made += [{"id": f"{label} {number}".replace(" ", "-"), "label": label, "caption": caption} for number in range(count)]
    for place, (label, language) in enumerate(
        [("speech", "en"), ("accented speech", "en-GB"), ("telephone speech", "en"), ("speech", "zh")]
    ):
        for number in range(4):
            text = (
                f"我有{'一二三四'[number]}本书，很好看。"
                if language == "zh"
                else f"This is sentence number {'one two three four'.split()[number]}."
            )
            other = f"I have {number + 1} books, they are good." if language == "zh" else "这是一句话，请听。"
            told = {"transcript": text, "language": language, "translation": other, "source": f"speakers-{place}"}
            target = {"translation_language": "en" if language == "zh" else "zh"}
            made.append({"id": f"said-{place}-{number}", "label": label, **told, **target})
    for number in range(4):
        asked = {"transcript": f"What is fact number {number}?", "reply": f"It is {number}.", "language": "en"}
        made.append({"id": f"fact-{number}", "label": "factual question", "source": "facts", **asked})
    for name, label, *turns in CHATS:
        for number, (user, assistant) in enumerate(turns):
            own = "review question" if name == "trip" and number == len(turns) - 1 else label
            turn = {"transcript": user, "reply": assistant, "language": "en", "dialogue": name, "turn": number, "voice": name}
            made.append({"id": f"chat-{name}-{number}", "label": own, "source": "chats", **turn})
    for number, text in enumerate(
        ("What was that sound?", "What was the first sound?", "How many sounds have you heard so far?")
    ):
        made.append({"id": f"ask-{number}", "label": "question about sounds", "transcript": text, "language": "en"})
    made.append(
        {"id": "ask-back", "label": "question", "transcript": "What was the first thing I said to you?", "language": "en"}
    )
    for number, feeling in enumerate(("happy", "sad", "angry")):
        told = {"transcript": f"Today is day {number}.", "language": "en"}
        made.append({"id": f"felt-{feeling}", "label": f"{feeling} speech", **told})
    made += [
        {"id": "behind-typing", "label": "typing", "role": "background"},
        {"id": "behind-guitar", "label": "guitar", "role": "background"},
        {"id": "room", "label": "wind", "role": "ambient"},
        {"id": "hiss", "label": "hiss", "role": "noise_ambient"},
        {"id": "loop", "label": "loop", "role": "noise_event"},
    ]
    return made


def sound_of(row: Row) -> np.ndarray:
    """Half a second to one and a half, each its own, float32."""
    number = int.from_bytes(hashlib.sha256(str(row["id"]).encode()).digest()[:4])
    return burst(8_000 + number % 16_000, number)


def timed(row: Row, samples: int) -> list[Word]:
    """Its words, evenly spread."""
    words = words_of(row.get("transcript") or "")
    step = samples // max(len(words), 1)
    return [Word(text=word, start=place * step, end=(place + 1) * step) for place, word in enumerate(words)]


def pool() -> MemoryPool:
    """In memory, with the times of all words."""
    made = MemoryPool()
    for row in rows():
        samples = sound_of(row)
        about = {name: value for name, value in row.items() if name != "id" and value != ""}
        made.add(row["id"], samples, **about | {"words": timed(row, samples.size)})
    return made
