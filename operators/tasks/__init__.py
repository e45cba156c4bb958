"""The policies of all sub-tasks: one class each, in a module with those that share its mechanism.

`operators/tasks/policy.py` documents how to add a sub-task.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soundflow.operators.tasks.chat import CHAT_POLICIES
from soundflow.operators.tasks.event_description import EventDescription
from soundflow.operators.tasks.mixed_task import MixedTask
from soundflow.operators.tasks.music import MUSIC_POLICIES
from soundflow.operators.tasks.policy import Policy
from soundflow.operators.tasks.proactive_respond import PROACTIVE_POLICIES, ProactiveRespond
from soundflow.operators.tasks.questions import QUESTION_POLICIES
from soundflow.operators.tasks.simultaneous_interpretation import TRANSLATION_POLICIES, SimultaneousInterpretation
from soundflow.operators.tasks.speech_emotion import SpeechEmotion
from soundflow.operators.tasks.streaming_asr import ASR_POLICIES, StreamingAsr
from soundflow.operators.tasks.voice_chat import VoiceChat
from soundflow.operators.tasks.watching import ConditionalTrigger, EventCounting, StandingInstruction
from soundflow.schemas.taxonomy import Task

_ALL: Final[tuple[Policy, ...]] = (
    *(StreamingAsr(), *ASR_POLICIES),
    *(SimultaneousInterpretation(), *TRANSLATION_POLICIES),
    *(VoiceChat(), *CHAT_POLICIES),
    *(EventDescription(), EventCounting(), SpeechEmotion(), *QUESTION_POLICIES),
    *MUSIC_POLICIES,
    *(ProactiveRespond(), *PROACTIVE_POLICIES),
    *(StandingInstruction(), ConditionalTrigger(), MixedTask()),
)
POLICIES: Final[Mapping[Task, Policy]] = MappingProxyType({policy.task: policy for policy in _ALL})

__all__ = ["POLICIES", "Policy"]
