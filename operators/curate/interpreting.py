"""A speech clip interpreted by the language model's role `interpreter`: which part of the translation is said after which clause.

Where a translation is known the model only cuts it; else it says the speech in another language itself. Each segment rests on the
clauses up to its own: what the model says of a clause is never said before that was heard.
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
"""How `interpreter` begins where the model only cut a translation somebody else wrote."""


async def interpret(chat: ChatModel, clip: Clip, into: str) -> Outcome[Interpreted]:
    """Ask for the segments of an aligned clip: of its translation, or (where it has none) into the language `into`.

    Rejected (`llm_…`) when the answer is no such thing, Failed when there is none; raises what `ask` raises.
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
        return _wrong(answer.segments, len(clauses), given)

    count = (len(clauses), len(clauses))
    asked = await ask(chat, ROLE, values, SpokenSegments, seed=0, check=check, counts={"segments": count})
    if not isinstance(asked, Ok):
        return asked
    said = _cut(asked.value.value.segments, given) if given else [tidy(text) for text in asked.value.value.segments]
    segments = tuple(Segment(text=text, words=end) for text, end in zip(said, ends, strict=True) if text)
    by = f"{CUT if given else ''}{MODEL_PREFIX}{chat.config.answering(ROLE).model}"
    return Ok(Interpreted(translation=given or join_texts(said), translation_language=code, segments=segments, interpreter=by))


def _clauses(clip: Clip) -> list[str]:
    ends = [0, *clause_ends(clip.words)]
    return [join_texts(word.text for word in clip.words[begin:end]) for begin, end in pairwise(ends)]


def _wrong(segments: Sequence[str], count: int, given: str | None) -> str:
    """What the answer has wrong, in words; empty when nothing."""
    if len(segments) != count:
        return f"{count} clauses were given, {len(segments)} segments came back; give one for each, empty ones too"
    if given:
        return "" if _cut(segments, given) else "the segments joined are not the given translation; cut it, change nothing"
    if not any(char.isalnum() for char in segments[-1]):
        return "the last segment is empty; everything has been heard by then"
    return ""


def _cut(segments: Sequence[str], given: str) -> list[str]:
    """The given text cut where the segments end, spaces aside; empty when they are something else or cut through a word."""
    words, made = words_of(given), list[str]()
    for segment in segments:
        wanted, piece, taken = _bare(segment), "", list[str]()
        while len(piece) < len(wanted) and words:
            taken.append(words.pop(0))
            piece += _bare(taken[-1])
        if piece != wanted:
            return []
        made.append(join_texts(taken))
    return [] if words else made


def _bare(text: str) -> str:
    return "".join(text.split())
