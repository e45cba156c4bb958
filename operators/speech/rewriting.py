"""Rewrite a turn into its spoken form, by rules or with the LLM role `spoken_rewriter`: the first step of the speech chain."""

from __future__ import annotations

from typing import Final

from soundflow.operators.protocols.asking import ask
from soundflow.operators.protocols.chat import ChatModel
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.speech.normalise import LANGUAGES, base_language, to_spoken_form
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.scenario import SpokenText

ROLE: Final = "spoken_rewriter"


def rewrite_by_rules(text: str, language: str, seed: int = 0) -> Outcome[str]:
    """Rewrite by rules. Rejected: `unspoken_language`."""
    if base_language(language) not in LANGUAGES:
        return Rejected("unspoken_language", {"language": language})
    return Ok(to_spoken_form(text, language))


async def rewrite_with_model(chat: ChatModel, text: str, language: str, seed: int) -> Outcome[str]:
    """Rewrite with an LLM. In the languages of the rules, these then remove any markdown or digits that are left.

    Rejected: `llm_…`. Raises BackendError when the model does not answer, and whatever `ask` raises.
    """
    outcome = await ask(chat, ROLE, {"text": text}, SpokenText, seed=seed)
    if isinstance(outcome, Failed):
        raise BackendError(outcome.error)
    if isinstance(outcome, Rejected):
        return outcome
    rewritten = outcome.value.value.spoken
    return rewrite_by_rules(rewritten, language) if base_language(language) in LANGUAGES else Ok(rewritten)
