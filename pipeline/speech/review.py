"""`soundflow review`: append a question about an earlier turn to some of the written dialogues, before they are spoken."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundflow.operators.curate.reviewing import REVIEWING_VERSION, add_question, add_template_question, can_add_question
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat_batch import run_chat_batch
from soundflow.pipeline.speech.dialogue_lines import read_dialogues
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import canonical_json
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.outcome import Failed, Ok, Outcome
from soundflow.schemas.speech import Dialogue


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """Result of a review."""

    out: str
    dialogues: int
    drawn: int
    """Dialogues that are long enough and were drawn to get a question."""
    reviewed: int
    refused: dict[str, int]
    """Drawn dialogues without a question, and bad lines, by reason."""
    failed: int
    """Dialogues for which the call failed. If there are any, nothing is written; the same command asks only about these."""
    thoughts: int = 0
    """Answers in the input that contained thoughts of a reasoning model, which are left out."""

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the lines that are printed on the terminal."""
        if self.failed:
            return [f"{self.out}: not written: {self.failed} dialogues failed. Run the same command again"]
        rejected = ", ".join(f"{count} {reason}" for reason, count in sorted(self.refused.items()))
        counts = f"{self.drawn} drawn{f'; rejected: {rejected}' if rejected else ''}"
        counts += f"; answers with thoughts, which are left out: {self.thoughts}" if self.thoughts else ""
        return [f"{self.out}: {self.reviewed} of {self.dialogues} dialogues got a question about an earlier turn ({counts})"]


def review_dialogues(
    source: Path,
    out: Path,
    config: LlmConfig | None,
    *,
    share: float = c.HISTORY_REVIEW_SHARE,
    seed: int = 0,
    answers: AnswerCache | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> ReviewSummary:
    """Write the dialogues of `source` to `out`, a Bernoulli `share` of the long ones with a question about an earlier turn.

    Without `config` the question comes from a template. The result depends on the dialogues, the seed and the model's answers.
    Raises InputError when the file cannot be read or the API key is missing, BudgetSpent when the budget is used up.
    """
    kept: list[Dialogue] = []
    refused: Counter[str] = Counter()
    thoughts: Counter[str] = Counter()
    for _, line in read_dialogues(source, thoughts):
        if isinstance(line, str):
            refused[line.partition(":")[0]] += 1
        else:
            kept.append(line)
    rngs = [_rng(seed, dialogue) for dialogue in kept]
    drawn = [place for place, dialogue in enumerate(kept) if can_add_question(dialogue) and rngs[place].random() < share]
    made: list[Outcome[Dialogue]] = [Ok(add_template_question(kept[place], rngs[place])) for place in drawn]
    if config is not None:
        requests = [(kept[place], int(rngs[place].integers(2**31))) for place in drawn]
        made = run_chat_batch(
            requests, lambda one, chat: add_question(one[0], chat, one[1]), config, answers or AnswerCache(), on_done
        )
    failed = 0
    for place, outcome in zip(drawn, made, strict=True):
        if isinstance(outcome, Ok):
            kept[place] = outcome.value
        elif isinstance(outcome, Failed):
            failed += 1
        else:
            refused[outcome.reason] += 1
    if not failed:
        write_atomic(out, (canonical_json(dialogue.model_dump(mode="json", exclude_defaults=True)) + b"\n" for dialogue in kept))
    reviewed = sum(isinstance(outcome, Ok) for outcome in made)
    refusals = dict(sorted(refused.items()))
    return ReviewSummary(str(out), len(kept), len(drawn), 0 if failed else reviewed, refusals, failed, sum(thoughts.values()))


def _rng(seed: int, dialogue: Dialogue) -> np.random.Generator:
    text = f"{REVIEWING_VERSION}/{seed}/{dialogue.id}"
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")))
