"""Player of chat models: asks an audio model behind an OpenAI-compatible server turn by turn, with the conversation's history.

The client is `backends.llm.openai_chat`: every call has a deadline, and transient faults are retried. A refusal or an empty
response counts as an answer, which is wrong. If the server fails, the row is left out, and the next run requests it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from soundflow.bench.harness.sounds import Audio, encode_wav
from soundflow.operators.protocols.chat import AudioAttachment, ChatModel, ChatRequest, Finish, Message
from soundflow.operators.protocols.faults import EmptyAnswer, RequestRefused, ServerFault
from soundflow.schemas.base import InputError, explain
from soundflow.schemas.llm import LlmConfig, LlmServer
from soundflow.schemas.text import without_thoughts

ROLE: Final = "benchmark"


@dataclass(frozen=True, slots=True)
class UserTurn:
    """One turn of the user: text, recordings, or both."""

    id: str
    text: str
    recordings: tuple[Audio, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns with a common history."""

    id: str
    turns: tuple[UserTurn, ...]
    system: str = ""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The model's answer to one turn."""

    id: str
    text: str
    """The whole text, thoughts included. Readers of predictions leave them out."""
    finish: Finish | None = None
    error: str = ""
    """The server's error message if there is no answer."""
    model: str = ""
    """Name of the model that answered."""

    def row(self) -> dict[str, Any]:
        """Return the row for a predictions file."""
        more = {"error": self.error} if self.error else {}
        return {"id": self.id, "answer": self.text, "finish": self.finish, "answered_by": self.model} | more


def config_of(
    model: str,
    base_url: str | None = None,
    *,
    max_tokens: int = 512,
    temperature: float = 0.0,
    concurrency: int = 4,
    timeout: float | None = None,
    retries: int | None = None,
    server: LlmServer | None = None,
) -> LlmConfig:
    """Return a client configuration for benchmarks: free text instead of JSON, greedy decoding by default.

    `timeout` of a call is in seconds. None for `timeout` or `retries` means the default of `LlmServer`. Raises InputError if an
    address or a number is invalid.
    """
    if server is None:
        try:
            values = {"base_url": base_url, "concurrency": concurrency, "timeout_seconds": timeout, "retries": retries}
            server = LlmServer.model_validate({name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            found = explain(error, LlmServer)
            raise InputError(found.why, field="--server", remedy="Give an address such as http://127.0.0.1:8000/v1") from None
    return LlmConfig(
        model=model,
        json_mode="none",
        temperature=temperature,
        max_tokens=max_tokens,
        audio=True,
        server=server,
    )


async def converse(chat: ChatModel, conversation: Conversation) -> list[ChatAnswer] | ServerFault:
    """Ask all turns in order; return the answers, or the fault that ended the conversation."""
    history = [Message("system", conversation.system)] if conversation.system else []
    answers = []
    for turn in conversation.turns:
        history.append(Message("user", turn.text, tuple(AudioAttachment(encode_wav(one)) for one in turn.recordings)))
        request = ChatRequest(ROLE, chat.config.answering(ROLE), tuple(history), "answer", {}, "", 0)
        try:
            completion = await chat.complete(request)
        except EmptyAnswer as empty:
            answers.append(ChatAnswer(turn.id, "", error=str(empty)))
        except RequestRefused as refused:
            answers.append(ChatAnswer(turn.id, "", error=str(refused)))
        except ServerFault as fault:
            return fault
        else:
            answers.append(ChatAnswer(turn.id, completion.text, completion.finish, model=completion.model))
        history.append(Message("assistant", without_thoughts(answers[-1].text).answer or "(no answer)"))
    return answers
