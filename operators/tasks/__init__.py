"""The sub-tasks: a small policy each, in a file with those it shares its mechanism with. A new one is a class and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from operators.tasks.chat import CHAT
from operators.tasks.event_description import EventDescription
from operators.tasks.mixed_task import MixedTask
from operators.tasks.music import MUSIC
from operators.tasks.policy import Policy
from operators.tasks.proactive_respond import PROACTIVE, ProactiveRespond
from operators.tasks.questions import QUESTIONS
from operators.tasks.simultaneous_interpretation import TRANSLATION, SimultaneousInterpretation
from operators.tasks.speech_emotion import SpeechEmotion
from operators.tasks.streaming_asr import ASR, StreamingAsr
from operators.tasks.voice_chat import VoiceChat
from operators.tasks.watching import ConditionalTrigger, EventCounting, StandingInstruction
from schemas.taxonomy import Task

_ALL: Final[tuple[Policy, ...]] = (
    *(StreamingAsr(), *ASR),
    *(SimultaneousInterpretation(), *TRANSLATION),
    *(VoiceChat(), *CHAT),
    *(EventDescription(), EventCounting(), SpeechEmotion(), *QUESTIONS),
    *MUSIC,
    *(ProactiveRespond(), *PROACTIVE),
    *(StandingInstruction(), ConditionalTrigger(), MixedTask()),
)
POLICIES: Final[Mapping[Task, Policy]] = MappingProxyType({policy.task: policy for policy in _ALL})

__all__ = ["POLICIES", "Policy"]
