"""The sub-tasks: a small policy each, in a file with those it shares its mechanism with. A new one is a class and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soundflow.operators.tasks.chat import CHAT
from soundflow.operators.tasks.event_description import EventDescription
from soundflow.operators.tasks.mixed_task import MixedTask
from soundflow.operators.tasks.music import MUSIC
from soundflow.operators.tasks.policy import Policy
from soundflow.operators.tasks.proactive_respond import PROACTIVE, ProactiveRespond
from soundflow.operators.tasks.questions import QUESTIONS
from soundflow.operators.tasks.simultaneous_interpretation import TRANSLATION, SimultaneousInterpretation
from soundflow.operators.tasks.speech_emotion import SpeechEmotion
from soundflow.operators.tasks.streaming_asr import ASR, StreamingAsr
from soundflow.operators.tasks.voice_chat import VoiceChat
from soundflow.operators.tasks.watching import ConditionalTrigger, EventCounting, StandingInstruction
from soundflow.schemas.taxonomy import Task

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
