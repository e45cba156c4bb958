"""The first step of the chain: a turn as it is spoken, by rules or by the language model's role `spoken_rewriter`."""

from __future__ import annotations

from typing import Final

from soundflow.operators.protocols.asking import ask
from soundflow.operators.protocols.chat import ChatModel
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.speech.normalise import LANGUAGES, base_language, spoken
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.scenario import SpokenText

ROLE: Final = "spoken_rewriter"


def by_rules(text: str, language: str, seed: int = 0) -> Outcome[str]:
    """The rewriter `rules`. Rejected: `unspoken_language`."""
    if base_language(language) not in LANGUAGES:
        return Rejected("unspoken_language", {"language": language})
    return Ok(spoken(text, language))


async def by_model(chat: ChatModel, text: str, language: str, seed: int) -> Outcome[str]:
    """The rewriter `llm`; the rules have the last word, so no markdown or digit gets past it where they speak the language.

    Rejected: `llm_…`. Raises BackendError when there is no answer to be had, and what `ask` raises.
    """
    answered = await ask(chat, ROLE, {"text": text}, SpokenText, seed=seed)
    if isinstance(answered, Failed):
        raise BackendError(answered.error)
    if isinstance(answered, Rejected):
        return answered
    said = answered.value.value.spoken
    return by_rules(said, language) if base_language(language) in LANGUAGES else Ok(said)
