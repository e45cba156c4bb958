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


async def audit(label: str, caption: str, chat: ChatModel, seed: int = 0, decision: Urgency | None = None) -> Outcome[Urgency]:
    """Let a language model decide by four criteria whether a sound calls for a response, and compare with its decision.

    `decision`: the one of manifest or recipe; without it, label and caption decide.

    Ok(RESPOND or IGNORE): the model agrees. Ok(BORDERLINE): the sound is not decided; no call is made, since such sounds occur in
    no proactive stream. Rejected: `borderline` (decision of the model), `contradicts_its_words` or, for a decision of
    manifest or recipe, `contradicts_its_decision` (the model contradicts what sub-tasks rely on), or a reason of `ask`.
    """
    expected = decision or urgency(label, caption)
    if expected is Urgency.BORDERLINE:
        return Ok(expected)
    values = {"sound": {"label": label, "caption": caption}}
    number = int.from_bytes(hashlib.sha256(f"{AUDITING_VERSION}/{seed}/{label}/{caption}".encode()).digest()[:4]) % 2**31
    answer = await ask(chat, "silence_auditor", values, SilenceAudit, seed=number)
    if not isinstance(answer, Ok):
        return answer
    judged = answer.value.value
    if judged.verdict == "borderline":
        return Rejected("borderline", {"detail": judged.reason})
    if judged.verdict != expected.value:
        reason = "contradicts_its_decision" if decision else "contradicts_its_words"
        return Rejected(reason, {"detail": f"{judged.verdict}: {judged.reason}"})
    return Ok(expected)
