"""The protocol of chat models: content-addressed requests, completions and typed errors."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from soundflow.schemas.base import canonical_json
from soundflow.schemas.llm import Answering, LlmConfig, Usage

REQUEST_VERSION: Final = "1"
"""Increase it when an equal request is sent to the server differently."""
SCHEMA_MODES: Final = ("json_schema", "json_lengths", "json_narrow")
"""JSON modes in which the schema of the answer is sent."""
FRAMING_TOKENS: Final = 64
"""Upper bound of what a chat template adds to a message."""
AUDIO_BYTES_PER_TOKEN: Final = 640
"""Upper bound of token rates of audio models: 16 kHz PCM16 at 50 tokens per second."""


@dataclass(frozen=True, slots=True)
class AudioAttachment:
    """An audio file attached to a message."""

    data: bytes
    format: Literal["wav", "mp3"] = "wav"


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the conversation."""

    role: Literal["system", "user", "assistant"]
    text: str
    sounds: tuple[AudioAttachment, ...] = ()

    def wire(self) -> dict[str, Any]:
        """Return the message in the format of the OpenAI protocol."""
        if not self.sounds:
            return {"role": self.role, "content": self.text}
        parts: list[dict[str, Any]] = [{"type": "text", "text": self.text}]
        for sound in self.sounds:
            encoded = base64.b64encode(sound.data).decode("ascii")
            parts.append({"type": "input_audio", "input_audio": {"data": encoded, "format": sound.format}})
        return {"role": self.role, "content": parts}

    def token_bound(self) -> int:
        """Return an upper bound of its tokens. No tokenizer makes more than one token of a byte."""
        sounds = sum(FRAMING_TOKENS + len(sound.data) // AUDIO_BYTES_PER_TOKEN for sound in self.sounds)
        return FRAMING_TOKENS + len(self.text.encode()) + sounds


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that shapes an answer, and the role whose account is charged."""

    role: str
    answering: Answering
    messages: tuple[Message, ...]
    answer_name: str
    answer_schema: dict[str, Any]
    """JSON schema of the answer."""
    prompt_hash: str
    seed: int
    """Sampling seed. Requests of two samples that differ only in the seed are different requests."""

    def key(self) -> str:
        """Return the SHA-256 (hex) of everything that shapes the answer, without the role."""
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
        """Return the body of the HTTP request."""
        settings = self.answering
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [message.wire() for message in self.messages],
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
        }
        if settings.json_mode == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif settings.json_mode in SCHEMA_MODES:
            schema = {"name": self.answer_name, "schema": self.answer_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if settings.send_seed:
            body["seed"] = self.seed % 2**31
        return body

    def worst(self) -> Usage:
        """Return an upper bound of the usage of the call, without its price."""
        schema = len(canonical_json(self.answer_schema)) if self.answering.json_mode in SCHEMA_MODES else 0
        tokens = schema + sum(message.token_bound() for message in self.messages)
        return Usage(calls=1, input_tokens=tokens, output_tokens=self.answering.max_tokens)


Finish = Literal["stop", "length", "refused"]


@dataclass(frozen=True, slots=True)
class Completion:
    """The response of a chat model to one request."""

    text: str
    """The whole text. `schemas.text.without_thoughts` returns the answer in it."""
    finish: Finish
    """`length`: cut off at max_tokens; `refused`: by the model or a content filter."""
    model: str
    """Name of the model, as the server reports it."""
    usage: Usage
    """Usage of the original call, also for an answer from the cache."""
    cached: bool = False


class ChatModel(Protocol):
    """Completes chat requests. Safe for concurrent calls from one event loop."""

    @property
    def config(self) -> LlmConfig:
        """Settings of each role."""

    async def complete(self, request: ChatRequest) -> Completion:
        """Complete a request. Raises BackendError if it fails, BudgetSpent or InputError if all others would fail, too."""
