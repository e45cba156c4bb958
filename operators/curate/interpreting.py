"""Simultaneous interpretation of a speech clip by the LLM role `interpreter`: a segment of the translation for each clause.

If the clip has a translation, the model only splits it; otherwise it translates. A segment is due after the clause it belongs to.

The texts of `_find_error` are sent to the model: to change one is to change requests and their cache keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from soundflow.operators.protocols.asking import ask
from soundflow.operators.protocols.chat import ChatModel
from soundflow.operators.sources.rows import tidy
from soundflow.operators.speech.clauses import CLAUSES_VERSION, clause_ends
from soundflow.operators.tasks.simultaneous_interpretation import LANGUAGES
from soundflow.operators.tasks.supervision import MODEL_PREFIX
from soundflow.schemas.clip import Clip, Interpreted, Segment
from soundflow.schemas.outcome import Ok, Outcome
from soundflow.schemas.scenario import SpokenSegments
from soundflow.schemas.text import join_texts, words_of

INTERPRETING_VERSION: Final = f"1.{CLAUSES_VERSION}"
ROLE: Final = "interpreter"
CUT: Final = "cut:"
"""Prefix of `interpreter` if the model only split an existing translation."""


async def interpret(chat: ChatModel, clip: Clip, into: str) -> Outcome[Interpreted]:
    """Interpret an aligned clip: split its translation, or translate it into the language `into` if it has none.

    Rejected (`llm_…`): invalid answer. Failed: no answer. Raises the errors of `ask`.
    """
    clauses, ends, given = _clauses(clip), clause_ends(clip.words), clip.translation
    code = clip.translation_language if given else into
    values = {
        "language": LANGUAGES.get(code.partition("-")[0], code),
        "count": len(clauses),
        "clauses": clauses,
        "translation": given or "",
    }

    def check(answer: SpokenSegments) -> str:
        return _find_error(answer.segments, len(clauses), given)

    count = (len(clauses), len(clauses))
    answer = await ask(chat, ROLE, values, SpokenSegments, seed=0, check=check, counts={"segments": count})
    if not isinstance(answer, Ok):
        return answer
    texts = _split(answer.value.value.segments, given) if given else [tidy(text) for text in answer.value.value.segments]
    segments = tuple(Segment(text=text, words=end) for text, end in zip(texts, ends, strict=True) if text)
    author = f"{CUT if given else ''}{MODEL_PREFIX}{chat.config.answering(ROLE).model}"
    translation = given or join_texts(texts)
    return Ok(Interpreted(translation=translation, translation_language=code, segments=segments, interpreter=author))


def _clauses(clip: Clip) -> list[str]:
    ends = [0, *clause_ends(clip.words)]
    return [join_texts(word.text for word in clip.words[begin:end]) for begin, end in pairwise(ends)]


def _find_error(segments: Sequence[str], count: int, given: str | None) -> str:
    """Return the first error of an answer as text; empty if it is valid."""
    if len(segments) != count:
        return f"{count} clauses were given, {len(segments)} segments came back; give one for each, empty ones too"
    if given:
        return "" if _split(segments, given) else "the segments joined are not the given translation; cut it, change nothing"
    if not any(char.isalnum() for char in segments[-1]):
        return "the last segment is empty; everything has been heard by then"
    return ""


def _split(segments: Sequence[str], given: str) -> list[str]:
    """Split `given` where the segments end, ignoring spaces. Empty if they differ from it or split a word."""
    words, pieces = words_of(given), list[str]()
    for segment in segments:
        target, piece, taken = _without_spaces(segment), "", list[str]()
        while len(piece) < len(target) and words:
            taken.append(words.pop(0))
            piece += _without_spaces(taken[-1])
        if piece != target:
            return []
        pieces.append(join_texts(taken))
    return [] if words else pieces


def _without_spaces(text: str) -> str:
    return "".join(text.split())
