"""An audio model behind an OpenAI-compatible server is asked, turn by turn; what it answered before stays in the conversation.

Discipline is the client's (`backends.llm.openai_chat`): a deadline for each call, faults told by type and tried again, a
key from the environment that stands in no text. What the server refuses or leaves empty is an answer (and wrong); a server that
fails leaves the row out, so that the next run asks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from soundflow.bench.harness.sounds import Audio, wav
from soundflow.operators.protocols.chat import AudioAttachment, ChatModel, ChatRequest, Finish, Message
from soundflow.operators.protocols.faults import EmptyAnswer, RequestRefused, ServerFault
from soundflow.schemas.base import InputError, explain
from soundflow.schemas.llm import LlmConfig, LlmServer

ROLE: Final = "benchmark"


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the user says once: a text, recordings, or both."""

    id: str
    text: str
    recordings: tuple[Audio, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that share one history."""

    id: str
    turns: tuple[UserTurn, ...]
    system: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one turn."""

    id: str
    text: str
    finish: Finish | None = None
    error: str = ""
    """Why there is no answer, in the server's words."""
    model: str = ""
    """Who answered."""

    def row(self) -> dict[str, Any]:
        """For a predictions file."""
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
    """A client's configuration for benchmarks: no schema is asked for, and answers are the likeliest ones.

    `timeout` of a call in seconds and `retries`: None is what `LlmServer` says.

    InputError when the address is none.
    """
    if server is None:
        try:
            given = {"base_url": base_url, "concurrency": concurrency, "timeout_seconds": timeout, "retries": retries}
            server = LlmServer.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            found = explain(error, LlmServer)
            raise InputError(found.why, field="--server", remedy="Name an address such as http://127.0.0.1:8000/v1") from None
    return LlmConfig(
        model=model,
        json_mode="none",
        temperature=temperature,
        max_tokens=max_tokens,
        audio=True,
        server=server,
    )


async def converse(chat: ChatModel, conversation: Conversation) -> list[Answered] | ServerFault:
    """Every turn's answer, or the fault that ended the conversation."""
    history = [Message("system", conversation.system)] if conversation.system else []
    answers = []
    for turn in conversation.turns:
        history.append(Message("user", turn.text, tuple(AudioAttachment(wav(one)) for one in turn.recordings)))
        request = ChatRequest(ROLE, chat.config.answering(ROLE), tuple(history), "answer", {}, "", 0)
        try:
            done = await chat.complete(request)
        except EmptyAnswer as nothing:
            answers.append(Answered(turn.id, "", error=str(nothing)))
        except RequestRefused as refused:
            answers.append(Answered(turn.id, "", error=str(refused)))
        except ServerFault as fault:
            return fault
        else:
            answers.append(Answered(turn.id, done.text, done.finish, model=done.model))
        history.append(Message("assistant", answers[-1].text or "(no answer)"))
    return answers
