"""The sub-tasks a stream can teach, and what is known of a sound from its label.

The paper has seven task categories; those here a folder of real recordings supports without an LLM.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Task(StrEnum):
    """A sub-task of StreamAudio-2M; decides which positions of the timeline carry a response."""

    EVENT_DESCRIPTION = "event_description"
    """Name every foreground sound when it has been heard."""
    PROACTIVE_RESPOND = "proactive_respond"
    """Speak up at hazards and needs, stay silent at benign sounds."""
    VOICE_CHAT = "voice_chat"
    """Answer spoken turns, stay silent at other sounds."""
    STREAMING_ASR = "streaming_asr"
    """Write down what is said while it is said."""
    SIMULTANEOUS_INTERPRETATION = "simultaneous_interpretation"
    """Say in another language what is said, while it is said."""


class Urgency(StrEnum):
    """Whether a sound calls for a proactive response."""

    RESPOND = "respond"
    IGNORE = "ignore"
    BORDERLINE = "borderline"
    """Not decidable from the label: never used in a proactive stream (the paper discards borderline clips)."""


_RESPOND = (
    "alarm siren smoke fire explosion gunshot glass crash scream cry crying sob baby cough sneeze choke snore groan "
    "doorbell knock doorknock phone telephone ring thunder collapse emergency help pain horn growl gasp"
)
_IGNORE = (
    "bird birds chirp rain drizzle wind wave waves water stream footstep footsteps walk typing keyboard click page laugh giggle "
    "clap applause cheer chatter crowd drum drums guitar piano bass music cymbal snare kick hat hihat bell bells harp flute "
    "violin loop pop pluck boing bubbles owl cow duck goose horse rooster chicken meow cat cricket crickets "
    "elec synth perc tabla ambient vinyl bong finger zoop xylo tom"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESPOND_WORDS = _words(_RESPOND)
IGNORE_WORDS = _words(_IGNORE)
UNMISTAKABLE = frozenset({"alarm", "siren", "fire", "smoke"})


def label_words(label: str) -> list[str]:
    """Lower-case words of a label or file name: `ScreechingTires2` → ["screeching", "tires"]."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    return [word.lower() for word in re.findall(r"[^\W\d_]+", spaced)]


def urgency(label: str, caption: str = "") -> Urgency:
    """The label's verdict: a words on both sides, or none, mean borderline."""
    words = set(label_words(f"{label} {caption}"))
    if not words & RESPOND_WORDS:
        return Urgency.IGNORE if words & IGNORE_WORDS else Urgency.BORDERLINE
    contradicted = words & IGNORE_WORDS and not words & UNMISTAKABLE
    return Urgency.BORDERLINE if contradicted else Urgency.RESPOND
