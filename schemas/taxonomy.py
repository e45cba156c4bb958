"""The capabilities and sub-tasks a stream can teach, and what is known of a clip from its label.

The paper names its seven capabilities; of the 28 sub-tasks it gives only the number, so their names are ours. `Task` also has
four names that stand for a whole capability in one policy, for corpora whose clips do not tell its sub-tasks apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Capability(StrEnum):
    """What the model is able to do (paper, section 4)."""

    ASR = "asr"
    """Real-time ASR."""
    TRANSLATION = "translation"
    """Streaming translation."""
    CHAT = "chat"
    """Voice chatting."""
    UNDERSTANDING = "understanding"
    """Streaming audio understanding."""
    MUSIC = "music"
    """Following music."""
    PROACTIVE = "proactive"
    """Proactive respond."""
    AGENT = "agent"
    """Audio agent."""


class Task(StrEnum):
    """A sub-task of StreamAudio-2M; decides which positions of the timeline carry a response."""

    ASR_ENGLISH = "asr_english"
    """Dictation in English."""
    ASR_ACCENTED = "asr_accented"
    """Accented English, and other languages."""
    ASR_IN_THE_WILD = "asr_in_the_wild"
    """Spontaneous, over the telephone, in noise."""
    ASR_MANDARIN = "asr_mandarin"
    TRANSLATION_EN_ZH = "translation_en_zh"
    """Sentence by sentence."""
    TRANSLATION_ZH_EN = "translation_zh_en"
    INTERPRETATION_EN_ZH = "interpretation_en_zh"
    """While it is said."""
    INTERPRETATION_ZH_EN = "interpretation_zh_en"
    CHAT_MULTI_TURN = "chat_multi_turn"
    CHAT_FACTUAL = "chat_factual"
    CHAT_DISCUSSION = "chat_discussion"
    CHAT_HISTORY = "chat_history"
    """With a question that only an earlier turn answers."""
    EVENT_DESCRIPTION = "event_description"
    """Name every foreground sound when it has been heard."""
    AUDIO_OPEN_QA = "audio_open_qa"
    AUDIO_CHOICE_QA = "audio_choice_qa"
    EVENT_COUNTING = "event_counting"
    SCENE_DESCRIPTION = "scene_description"
    SPEECH_EMOTION = "speech_emotion"
    MUSIC_OPEN_QA = "music_open_qa"
    MUSIC_CHOICE_QA = "music_choice_qa"
    MUSIC_OPINION = "music_opinion"
    HUMAN_DISTRESS = "human_distress"
    EQUIPMENT_FAULT = "equipment_fault"
    ENVIRONMENTAL_HAZARD = "environmental_hazard"
    TRAFFIC_DANGER = "traffic_danger"
    STANDING_INSTRUCTION = "standing_instruction"
    """Whenever you hear this, tell me."""
    CONDITIONAL_TRIGGER = "conditional_trigger"
    """When this has happened, say that."""
    MIXED_TASK = "mixed_task"
    """Answers questions, warns of dangers, and watches for a sound, in one stream."""

    STREAMING_ASR = "streaming_asr"
    """Write down what is said while it is said: any speech."""
    SIMULTANEOUS_INTERPRETATION = "simultaneous_interpretation"
    """Say in another language what is said, while it is said: any two languages."""
    VOICE_CHAT = "voice_chat"
    """Answer spoken turns, stay silent at other sounds: dialogues, or single turns."""
    PROACTIVE_RESPOND = "proactive_respond"
    """Speak up at hazards and needs of all kinds, stay silent at benign sounds."""

    @property
    def capability(self) -> Capability:
        """The one it belongs to."""
        return _CAPABILITY[self]


_T, _C = Task, Capability
WHOLE: Final[Mapping[Task, Capability]] = MappingProxyType(
    {
        _T.STREAMING_ASR: _C.ASR,
        _T.SIMULTANEOUS_INTERPRETATION: _C.TRANSLATION,
        _T.VOICE_CHAT: _C.CHAT,
        _T.PROACTIVE_RESPOND: _C.PROACTIVE,
    }
)
"""Names that stand for a whole capability, or for what it has in common."""
SUB_TASKS: Final[Mapping[Capability, tuple[Task, ...]]] = MappingProxyType(
    {
        _C.ASR: (_T.ASR_ENGLISH, _T.ASR_ACCENTED, _T.ASR_IN_THE_WILD, _T.ASR_MANDARIN),
        _C.TRANSLATION: (_T.TRANSLATION_EN_ZH, _T.TRANSLATION_ZH_EN, _T.INTERPRETATION_EN_ZH, _T.INTERPRETATION_ZH_EN),
        _C.CHAT: (_T.CHAT_MULTI_TURN, _T.CHAT_FACTUAL, _T.CHAT_DISCUSSION, _T.CHAT_HISTORY),
        _C.UNDERSTANDING: (
            _T.EVENT_DESCRIPTION, _T.AUDIO_OPEN_QA, _T.AUDIO_CHOICE_QA, _T.EVENT_COUNTING, _T.SCENE_DESCRIPTION,
            _T.SPEECH_EMOTION,
        ),
        _C.MUSIC: (_T.MUSIC_OPEN_QA, _T.MUSIC_CHOICE_QA, _T.MUSIC_OPINION),
        _C.PROACTIVE: (_T.HUMAN_DISTRESS, _T.EQUIPMENT_FAULT, _T.ENVIRONMENTAL_HAZARD, _T.TRAFFIC_DANGER),
        _C.AGENT: (_T.STANDING_INSTRUCTION, _T.CONDITIONAL_TRIGGER, _T.MIXED_TASK),
    }
)  # fmt: skip
"""The 28, by capability."""
_CAPABILITY: Final = dict(WHOLE) | {task: capability for capability, tasks in SUB_TASKS.items() for task in tasks}


class Urgency(StrEnum):
    """Whether a sound calls for a proactive response."""

    RESPOND = "respond"
    IGNORE = "ignore"
    BORDERLINE = "borderline"
    """Not decidable from the label: never used in a proactive stream (the paper discards borderline clips)."""


_RESPOND = (
    "alarm siren smoke fire explosion gunshot glass crash scream cry crying sob baby cough sneeze choke snore groan "
    "doorbell knock doorknock phone telephone ring thunder collapse emergency help pain horn growl gasp "
    "breakdown malfunction overheating sparking sparks screech screeching skid skidding collision"
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


_DOMAINS: Final[Mapping[Task, frozenset[str]]] = MappingProxyType(
    {
        _T.HUMAN_DISTRESS: _words("scream cry crying sob baby cough sneeze choke snore groan gasp pain help"),
        _T.TRAFFIC_DANGER: _words("horn siren crash collision skid skidding screech screeching tires crossing"),
        _T.EQUIPMENT_FAULT: _words("breakdown malfunction overheating sparking sparks alarm"),
        _T.ENVIRONMENTAL_HAZARD: _words("fire smoke explosion gunshot glass thunder collapse growl tree"),
    }
)
"""Words of the dangers of each kind; a label that has words of several kinds counts for the first."""


def danger(label: str, caption: str = "") -> Task | None:
    """The kind of danger a sound tells of: one of the four proactive sub-tasks; None for no danger, or one of no kind."""
    if urgency(label, caption) is not Urgency.RESPOND:
        return None
    words = set(label_words(f"{label} {caption}"))
    return next((task for task, known in _DOMAINS.items() if words & known), None)


MUSIC_WORDS: Final = _words(
    "music song melody guitar piano violin cello harp flute trumpet saxophone organ drum drums drumming drumbeat bass xylophone "
    "harmonica accordion tabla choir singer singing techno orchestra band tambura didgeridoo beatbox"
)


def is_music(label: str, caption: str = "") -> bool:
    """Whether a sound is music, by its words."""
    return bool(MUSIC_WORDS & set(label_words(f"{label} {caption}")))


EMOTIONS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "happy": _words("happy happiness joy joyful cheerful amused laugh laughing laughter chuckling giggle giggling"),
        "sad": _words("sad sadness sorrow cry crying sob sobbing weeping"),
        "angry": _words("angry anger furious"),
        "afraid": _words("afraid fear fearful frightened scared scream screaming"),
        "surprised": _words("surprised surprise astonished"),
        "disgusted": _words("disgusted disgust"),
        "calm": _words("calm neutral"),
    }
)
"""Feeling → words of labels that tell it (RAVDESS, CREMA-D, IEMOCAP, and what people do when they feel it)."""


def emotion(label: str) -> str:
    """The feeling a label tells; empty for none, or several."""
    words = set(label_words(label))
    told = [feeling for feeling, known in EMOTIONS.items() if words & known]
    return told[0] if len(told) == 1 else ""


_WILD: Final = _words("wild telephone phone spontaneous meeting podcast interview")
_WILD_SOURCES: Final = frozenset({"gigaspeech", "wenetspeech", "ami"})
_ACCENTED_SOURCES: Final = frozenset({"common-voice", "voxpopuli"})


def speech_style(label: str, language: str, source: str) -> Task | None:
    """Which of the four kinds of ASR a recording of speech is for; None when its language is not known.

    Chinese is Mandarin; then what its label or corpus calls spontaneous is in the wild; what is neither, and not English or not
    American, is accented or multilingual.
    """
    code, _, region = language.partition("-")
    words = set(label_words(label))
    if not code:
        return None
    if code in ("zh", "cmn"):
        return _T.ASR_MANDARIN
    if words & _WILD or source in _WILD_SOURCES:
        return _T.ASR_IN_THE_WILD
    accented = code != "en" or region not in ("", "US") or source in _ACCENTED_SOURCES or words & {"accent", "accented"}
    return _T.ASR_ACCENTED if accented else _T.ASR_ENGLISH


_DISCUSSION: Final = _words("discussion opinion open")
_DISCUSSION_SOURCES: Final = frozenset({"ultrachat", "belle", "magpie-pro", "coig-cqia"})
_FACTUAL: Final = _words("fact facts factual question questions quiz")
_FACTUAL_SOURCES: Final = frozenset({"web-qa", "du-qa", "gammacorpus-fact-qa"})


def chat_style(label: str, source: str) -> Task | None:
    """Whether a spoken turn asks for a fact or opens a discussion, by its label or corpus; None when neither is told."""
    words = set(label_words(label))
    if "review" in words:  # asks about the talk, not about the world
        return None
    if words & _DISCUSSION or source in _DISCUSSION_SOURCES:
        return _T.CHAT_DISCUSSION
    return _T.CHAT_FACTUAL if words & _FACTUAL or source in _FACTUAL_SOURCES else None
