"""The silent-audio audit (paper, appendix B.2): whether a sound that nobody addressed to the assistant calls for a response."""

from __future__ import annotations

import hashlib
from typing import Final

from soundflow.operators.protocols.asking import ask
from soundflow.operators.protocols.chat import ChatModel
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.scenario import SilenceAudit
from soundflow.schemas.taxonomy import Urgency, urgency

AUDITING_VERSION: Final = "1"


async def audit(label: str, caption: str, chat: ChatModel, seed: int = 0) -> Outcome[Urgency]:
    """The verdict of a model, by four criteria, on a sound whose words give one.

    Ok(RESPOND or IGNORE) where it is the verdict of the words too. Rejected: `borderline` for the model; `contradicts_its_words`,
    since the sub-tasks go by the words; or what `ask` rejects. What the words leave open is in no proactive stream: it is
    Ok(BORDERLINE), and nobody is asked.
    """
    words = urgency(label, caption)
    if words is Urgency.BORDERLINE:
        return Ok(words)
    values = {"sound": {"label": label, "caption": caption}}
    number = int.from_bytes(hashlib.sha256(f"{AUDITING_VERSION}/{seed}/{label}/{caption}".encode()).digest()[:4]) % 2**31
    asked = await ask(chat, "silence_auditor", values, SilenceAudit, seed=number)
    if not isinstance(asked, Ok):
        return asked
    told = asked.value.value
    if told.verdict == "borderline":
        return Rejected("borderline", {"detail": told.reason})
    if told.verdict != words.value:
        return Rejected("contradicts_its_words", {"detail": f"{told.verdict}: {told.reason}"})
    return Ok(words)
