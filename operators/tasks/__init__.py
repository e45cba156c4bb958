"""The sub-tasks: one small policy each, one file each. A new sub-task is a file here and a line in `POLICIES`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from operators.tasks.event_description import EventDescription
from operators.tasks.policy import Policy
from operators.tasks.proactive_respond import ProactiveRespond
from operators.tasks.simultaneous_interpretation import SimultaneousInterpretation
from operators.tasks.streaming_asr import StreamingAsr
from operators.tasks.voice_chat import VoiceChat
from schemas.taxonomy import Task

POLICIES: Final[Mapping[Task, Policy]] = MappingProxyType(
    {
        policy.task: policy
        for policy in (EventDescription(), ProactiveRespond(), VoiceChat(), StreamingAsr(), SimultaneousInterpretation())
    }
)

__all__ = ["POLICIES", "Policy"]
