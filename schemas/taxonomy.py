"""Capabilities and sub-tasks, and classification of clips by the words of their labels.

The paper names its seven capabilities, but only the number of the 28 sub-tasks; their names are ours. `Task` has four further
names, each of which stands for a whole capability, for corpora whose clips do not distinguish its sub-tasks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise, permutations
from types import MappingProxyType
from typing import Final

from soundflow.schemas.inflection import base_forms
from soundflow.schemas.text import JOINERS, is_letter, one_line


class Capability(StrEnum):
    """A capability of the model (paper, section 4)."""

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
    """A sub-task of StreamAudio-2M. It determines which events of a stream have a response."""

    ASR_ENGLISH = "asr_english"
    """Transcribe English."""
    ASR_ACCENTED = "asr_accented"
    """Transcribe accented English and languages other than English and Mandarin."""
    ASR_IN_THE_WILD = "asr_in_the_wild"
    """Transcribe spontaneous, telephone or noisy speech."""
    ASR_MANDARIN = "asr_mandarin"
    """Transcribe Mandarin."""
    TRANSLATION_EN_ZH = "translation_en_zh"
    """Translate English sentences into Mandarin after each one."""
    TRANSLATION_ZH_EN = "translation_zh_en"
    """Translate Mandarin sentences into English after each one."""
    INTERPRETATION_EN_ZH = "interpretation_en_zh"
    """Interpret English into Mandarin while it is spoken."""
    INTERPRETATION_ZH_EN = "interpretation_zh_en"
    """Interpret Mandarin into English while it is spoken."""
    CHAT_MULTI_TURN = "chat_multi_turn"
    CHAT_FACTUAL = "chat_factual"
    CHAT_DISCUSSION = "chat_discussion"
    CHAT_HISTORY = "chat_history"
    """Hold a dialogue with a question that only an earlier turn answers."""
    EVENT_DESCRIPTION = "event_description"
    """Name each foreground sound after it ends."""
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
    """Respond each time a given sound occurs."""
    CONDITIONAL_TRIGGER = "conditional_trigger"
    """Respond with a given phrase once a condition is met."""
    MIXED_TASK = "mixed_task"
    """Answer questions, warn of dangers and watch for a sound in one stream."""

    STREAMING_ASR = "streaming_asr"
    """Transcribe any speech while it is spoken."""
    SIMULTANEOUS_INTERPRETATION = "simultaneous_interpretation"
    """Interpret speech while it is spoken, for any two languages."""
    VOICE_CHAT = "voice_chat"
    """Answer spoken turns, of dialogues or single ones, and stay silent at other sounds."""
    PROACTIVE_RESPOND = "proactive_respond"
    """Respond to hazards and calls for help of all kinds, stay silent at benign sounds."""

    @property
    def capability(self) -> Capability:
        """The capability of the sub-task."""
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
"""Names that stand for a whole capability."""
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
"""The 28 sub-tasks by capability."""
_CAPABILITY: Final = dict(WHOLE) | {task: capability for capability, tasks in SUB_TASKS.items() for task in tasks}


class Urgency(StrEnum):
    """Decision whether a sound calls for a proactive response."""

    RESPOND = "respond"
    IGNORE = "ignore"
    BORDERLINE = "borderline"
    """Not decidable from the label. Never used in a proactive stream; the paper discards borderline clips, too."""


_RESPOND = (
    "alarm siren smoke fire explosion explode gunshot crash scream cry sob cough sneeze choke snore groan "
    "doorbell knock doorknock phone telephone thunder thunderstorm collapse emergency help pain horn growl gasp "
    "breakdown malfunction overheat spark screech skid collision collide shatter"
)
_IGNORE = (
    "bird chirp rain drizzle wind wave water stream footstep walk typing keyboard click page laugh giggle laughter babble "
    "clap applause cheer chatter crowd drum guitar piano bass music cymbal snare kick hat hihat bell harp flute "
    "violin loop pop pluck boing bubble owl cow duck goose horse rooster chicken meow cat cricket "
    "elec synth perc tabla ambient vinyl bong finger zoop xylo tom"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESPOND_WORDS = _words(_RESPOND)
IGNORE_WORDS = _words(_IGNORE)
"""Words in their base form; they stand for their inflections (`schemas.inflection`) and for compounds written apart."""
_MODIFIERS: Final = _words(
    "air ambulance baby battle bike bicycle boat boy brush burglar bus bush camp car cell child church clock dog door engine "
    "finger fog foot forest french gas girl gun hand house human infant key kid kitchen machine man mobile mouse police river "
    "school sea ship shop snow store street tire train truck wild wolf woman"
)
"""Words that begin a compound written together without naming its decision: `carhorn`, but no `fireman`."""
_ENDINGS: Final = _words("bark child clock ring slam song")
"""Words that end such a compound, likewise: `alarmclock`."""
_ENGLISH_WORD: Final = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")
UNMISTAKABLE = frozenset({"alarm", "siren", "fire", "smoke"})


def label_words(label: str) -> list[str]:
    """Return the lower-case words of a label or file name: `ScreechingTires2` → ["screeching", "tires"]."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", one_line(label).replace("\u2019", "'"))
    if spaced.isascii():
        return [word.lower() for word in _ENGLISH_WORD.findall(spaced)]
    runs = "".join(char if is_letter(char) or char in JOINERS or char == "'" else " " for char in spaced).split()
    words = (run.strip("'") for run in runs)
    return [word.lower() for word in words if any(map(str.isalpha, word))]


def label_name(label: str) -> str:
    """Return a label as it is compared: its words, so that `Dog_Bark` is `dog bark`, or the text itself if it has none."""
    return " ".join(label_words(label)) or label.strip().lower()


def is_label_pattern(text: str) -> bool:
    """Whether a text stands for several labels: it contains `*` or `?`."""
    return "*" in text or "?" in text


@lru_cache(maxsize=4096)
def label_pattern(pattern: str) -> re.Pattern[str]:
    """Return what matches the names of labels (`label_name`); `*` stands for any characters and `?` for one.

    The rest of the pattern is compared by its words, as labels are: `Kettle_03*` finds `Kettle_03_boiling` and `kettle`.
    """
    stand_ins = {"*": "qqstarqq", "?": "qqmarkqq"}  # letters, so that they stay in their word
    spelled = re.sub(r"[\s_-]*\d+", "", pattern) if label_words(pattern) else pattern
    for wildcard, letters in stand_ins.items():
        spelled = spelled.replace(wildcard, letters)
    name = re.escape(label_name(spelled) if label_words(pattern) else spelled.strip().lower())
    return re.compile(name.replace(stand_ins["*"], ".*").replace(stand_ins["?"], "."))


_PARTS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({"glass": _words("break crash shatter smash")})
"""Words that name a danger only beside one of the others: breaking glass, but no glass of water."""
_OBJECTS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "fire": _words("extinguisher truck engine place hydrant drill station escape pit fighter work cracker fly wood camp"),
        "smoke": _words("machine"),
        "alarm": _words("shop store"),
        "phone": _words("booth box shop store dial"),
        "telephone": _words("booth box shop store dial"),
        "horn": _words("french english shoe"),
        "cry": _words("battle"),
        "cat": _words("roar lion tiger"),
    }
)
"""Words beside which a word names another sound: of `fire extinguisher`, that of an extinguisher; `roaring cats` are lions."""
_LONGEST_NAME: Final = 8
"""Number of words up to which a label is a name, whose words mean the same in any order. A longer one is a sentence."""
_BASES: Final = base_forms(
    RESPOND_WORDS.union(IGNORE_WORDS, _PARTS, *_PARTS.values(), *_OBJECTS.values()),
)


def base_words(text: str, bases: Mapping[str, str] = _BASES) -> list[str]:
    """Return the words of a text, with inflections of known words in their base form: `Sirens wailing` → siren, wailing.

    Compounds of two known words are taken apart: `BABYCRY` → baby, cry.
    """
    return [bases.get(word, word) for word in _spaced_words(text, bases)]


def _spaced_words(text: str, bases: Mapping[str, str]) -> list[str]:
    """Return the words of a text, with compounds that `bases` does not hold as the words they consist of."""
    return [part for word in label_words(text) for part in ((word,) if word in bases else _parts_of(word))]


@lru_cache(maxsize=65_536)
def _parts_of(word: str) -> tuple[str, ...]:
    """Return the two words of a compound, or the word itself if it is known or no place divides it into two known words.

    Compounds that name another sound (`_OBJECTS`), such as `campfire`, stay whole.
    """
    if word not in _SPLIT_BASES:
        for place in range(3, len(word) - 2):
            first, second = word[:place], word[place:]
            if (first in _SPLIT_BASES or first in _MODIFIERS) and second in _SPLIT_BASES:
                bases = {_BASES.get(part, part) for part in (first, second)}
                names_another = any(bases & _OBJECTS.get(base, frozenset()) for base in bases)
                return (word,) if names_another else (first, second)
    return (word,)


def _sound_words(text: str, *, is_sentence: bool) -> set[str]:
    """Return the known words that name the sound.

    Compounds written apart are joined (`door bell`), and words that name another sound (`_OBJECTS`) are left out. Both concern
    any two words of a name, and neighbours in a sentence.
    """
    written, words = _spaced_words(text, _BASES), base_words(text)
    places = range(len(words))
    is_sentence = is_sentence or len(words) > _LONGEST_NAME
    found, spent = set[str](), set[int]()
    for first, second in pairwise(places) if is_sentence else permutations(places, 2):
        compound = _BASES.get(written[first] + written[second])
        if compound is not None:
            found.add(compound)
            spent |= {first, second}
        elif words[second] in _OBJECTS.get(words[first], ()):
            spent.add(first)
    return found | {words[place] for place in places if place not in spent}


@lru_cache(maxsize=65_536)  # thousands of clips share a label
def urgency(label: str, caption: str = "") -> Urgency:
    """Return the decision that label and caption imply: borderline for words of both decisions, or of none.

    A clip may have another one, from its manifest or recipe: see `schemas.decision.decision_of`.
    """
    words = _sound_words(label, is_sentence=False) | _sound_words(caption, is_sentence=True)
    parts = any(part in words and others & words for part, others in _PARTS.items())
    if not parts and not words & RESPOND_WORDS:
        return Urgency.IGNORE if words & IGNORE_WORDS else Urgency.BORDERLINE
    contradicted = words & IGNORE_WORDS and not words & UNMISTAKABLE
    return Urgency.BORDERLINE if contradicted else Urgency.RESPOND


_DOMAINS: Final[Mapping[Task, frozenset[str]]] = MappingProxyType(
    {
        _T.HUMAN_DISTRESS: _words("scream cry sob baby cough sneeze choke snore groan gasp pain help"),
        _T.TRAFFIC_DANGER: _words("horn siren crash collision collide skid screech tire crossing"),
        _T.EQUIPMENT_FAULT: _words("breakdown malfunction overheat spark alarm"),
        _T.ENVIRONMENTAL_HAZARD: _words(
            "fire smoke explosion explode gunshot glass shatter thunder thunderstorm collapse growl tree"
        ),
    }
)
"""Words of each kind of danger. A label with words of several kinds counts as the first of them."""


_DOMAIN_BASES: Final = base_forms(frozenset().union(*_DOMAINS.values()))
_SPLIT_BASES: Final = _BASES | _DOMAIN_BASES | base_forms(_ENDINGS)
"""Known words with their inflections, into which compounds are taken apart."""


def kind_of_danger(label: str, caption: str = "") -> Task | None:
    """Return the proactive sub-task whose words label or caption contain, whatever the decision; None for no such word."""
    written = _spaced_words(f"{label} {caption}", _DOMAIN_BASES)
    joined = [first + second for first, second in pairwise(written)]  # compounds written apart: `gun shot`
    words = {_DOMAIN_BASES.get(word, word) for word in [*written, *joined]}
    return next((task for task, known in _DOMAINS.items() if words & known), None)


MUSIC_WORDS: Final = _words(
    "music song melody guitar piano violin cello harp flute trumpet saxophone organ drum drumbeat bass xylophone "
    "harmonica accordion tabla choir singer sing techno orchestra band tambura didgeridoo beatbox"
)
_MUSIC_BASES: Final = base_forms(MUSIC_WORDS)


def is_music(label: str, caption: str = "") -> bool:
    """Whether label or caption contain a word for music."""
    return bool(MUSIC_WORDS & set(base_words(f"{label} {caption}", _MUSIC_BASES)))


EMOTIONS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "happy": _words("happy happiness joy joyful cheerful amuse laugh laughter chuckle giggle"),
        "sad": _words("sad sadness sorrow cry sob weep"),
        "angry": _words("angry anger furious"),
        "afraid": _words("afraid fear fearful frighten scare scream"),
        "surprised": _words("surprise astonish"),
        "disgusted": _words("disgust"),
        "calm": _words("calm neutral"),
    }
)
"""Words for each emotion in labels: those of RAVDESS, CREMA-D and IEMOCAP, and sounds that express the emotion."""
_EMOTION_BASES: Final = base_forms(frozenset().union(*EMOTIONS.values()))


def emotion(label: str) -> str:
    """Return the emotion in a label; empty for none or several."""
    words = set(base_words(label, _EMOTION_BASES))
    found = [name for name, known in EMOTIONS.items() if words & known]
    return found[0] if len(found) == 1 else ""


_WILD: Final = _words("wild telephone phone spontaneous meeting podcast interview")
_WILD_SOURCES: Final = frozenset({"gigaspeech", "wenetspeech", "ami"})
_ACCENTED_SOURCES: Final = frozenset({"common-voice", "voxpopuli"})


def speech_style(label: str, language: str, source: str) -> Task | None:
    """Return the ASR sub-task of a recording of speech; None if its language is unknown.

    Chinese counts as Mandarin. Speech with a spontaneous label or corpus is in the wild. Other speech is accented unless it is
    American English.
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
    """Return whether a spoken turn is a factual question or a discussion, by its label or corpus; None if neither is known."""
    words = set(label_words(label))
    if "review" in words:  # the question is about the dialogue itself
        return None
    if words & _DISCUSSION or source in _DISCUSSION_SOURCES:
        return _T.CHAT_DISCUSSION
    return _T.CHAT_FACTUAL if words & _FACTUAL or source in _FACTUAL_SOURCES else None
