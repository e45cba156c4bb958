"""The silent-audio audit (paper, appendix B.2): does a sound that does not address the assistant call for a response?"""

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
    """Let a language model decide by four criteria whether a sound calls for a response, and compare with the label's decision.

    Ok(RESPOND or IGNORE): model and label agree. Ok(BORDERLINE): the label is not decisive; no call is made, since such sounds
    occur in no proactive stream. Rejected: `borderline` (decision of the model), `contradicts_its_words` (the model contradicts
    the label, which sub-tasks rely on), or a reason of `ask`.
    """
    expected = urgency(label, caption)
    if expected is Urgency.BORDERLINE:
        return Ok(expected)
    values = {"sound": {"label": label, "caption": caption}}
    number = int.from_bytes(hashlib.sha256(f"{AUDITING_VERSION}/{seed}/{label}/{caption}".encode()).digest()[:4]) % 2**31
    answer = await ask(chat, "silence_auditor", values, SilenceAudit, seed=number)
    if not isinstance(answer, Ok):
        return answer
    decision = answer.value.value
    if decision.verdict == "borderline":
        return Rejected("borderline", {"detail": decision.reason})
    if decision.verdict != expected.value:
        return Rejected("contradicts_its_words", {"detail": f"{decision.verdict}: {decision.reason}"})
    return Ok(expected)
