"""A chat model, as the operators see it: a request that names itself by its content, an answer, typed errors."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from soundflow.schemas.base import canonical_json
from soundflow.schemas.llm import Answering, LlmConfig, Usage

REQUEST_VERSION: Final = "1"
"""Raise it when the same request would be put to the server differently."""
SCHEMA_MODES: Final = ("json_schema", "json_lengths", "json_narrow")
"""The answer's schema goes along."""
FRAMING_TOKENS: Final = 64
"""More than any chat template adds to one message."""
AUDIO_BYTES_PER_TOKEN: Final = 640
"""16 kHz PCM16 at 50 tokens a second: more than any audio model takes."""


@dataclass(frozen=True, slots=True)
class AudioAttachment:
    """A whole audio file that goes along with a message."""

    data: bytes
    format: Literal["wav", "mp3"] = "wav"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation."""

    role: Literal["system", "user", "assistant"]
    text: str
    sounds: tuple[AudioAttachment, ...] = ()

    def wire(self) -> dict[str, Any]:
        """As the OpenAI protocol writes it."""
        if not self.sounds:
            return {"role": self.role, "content": self.text}
        parts: list[dict[str, Any]] = [{"type": "text", "text": self.text}]
        for sound in self.sounds:
            encoded = base64.b64encode(sound.data).decode("ascii")
            parts.append({"type": "input_audio", "input_audio": {"data": encoded, "format": sound.format}})
        return {"role": self.role, "content": parts}

    def token_bound(self) -> int:
        """At least as many tokens as any tokenizer makes of it: none makes more than one of a byte."""
        sounds = sum(FRAMING_TOKENS + len(sound.data) // AUDIO_BYTES_PER_TOKEN for sound in self.sounds)
        return FRAMING_TOKENS + len(self.text.encode()) + sounds


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that shapes an answer, and the role on whose account it is asked."""

    role: str
    answering: Answering
    messages: tuple[Message, ...]
    answer_name: str
    answer_schema: dict[str, Any]
    """JSON schema of the answer."""
    prompt_hash: str
    seed: int
    """Sampling seed: equal questions of two samples are two questions."""

    def key(self) -> str:
        """SHA-256 (hex) of all that shapes the answer; the role's account does not."""
        document = {
            "version": REQUEST_VERSION,
            "answering": self.answering.model_dump(mode="json"),
            "messages": [message.wire() for message in self.messages],
            "answer": [self.answer_name, self.answer_schema],
            "prompt": self.prompt_hash,
            "seed": self.seed,
        }
        return hashlib.sha256(canonical_json(document)).hexdigest()

    def wire(self) -> dict[str, Any]:
        """The body of the call."""
        how = self.answering
        body: dict[str, Any] = {
            "model": how.model,
            "messages": [message.wire() for message in self.messages],
            "temperature": how.temperature,
            "top_p": how.top_p,
            "max_tokens": how.max_tokens,
        }
        if how.json_mode == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif how.json_mode in SCHEMA_MODES:
            schema = {"name": self.answer_name, "schema": self.answer_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if how.send_seed:
            body["seed"] = self.seed % 2**31
        return body

    def worst(self) -> Usage:
        """The most one call can use, without its money."""
        schema = len(canonical_json(self.answer_schema)) if self.answering.json_mode in SCHEMA_MODES else 0
        tokens = schema + sum(message.token_bound() for message in self.messages)
        return Usage(calls=1, input_tokens=tokens, output_tokens=self.answering.max_tokens)


Finish = Literal["stop", "length", "refused"]


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to one request."""

    text: str
    finish: Finish
    """`length`: cut at max_tokens; `refused`: by the model or a content filter."""
    model: str
    """Who answered, in the server's words."""
    usage: Usage
    """What the answer cost when it was asked."""
    cached: bool = False


class ChatModel(Protocol):
    """Answers requests. Safe to call many times at once from one event loop."""

    @property
    def config(self) -> LlmConfig:
        """How each role is answered."""

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer. Raises BackendError for this request, BudgetSpent or InputError when no other will fare better."""
