"""Token layouts: which id means silent, response, eos and an audio slot, and what frames a stream.

Ids of text are Qwen's BPE (151,643 ranks). `soundflow` claims free rows of the embedding (151665+); `authors` reads and
writes the ids of the paper's own release, which are ordinary BPE ids there.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from soundflow.schemas.base import InputError, Schema

TEXT_VOCABULARY: Final = 151_643
"""Ranks of Qwen's BPE: text ids are below this."""
FIRST_FREE_ROW: Final = 151_665
"""Rows 151665...151935 of the 3B checkpoint's embedding are unused."""


class TokenLayout(Schema):
    """How a stream becomes ids.

    A stream is `prefix + instruction + prefix_end`, then per chunk `chunk_begin + [audio] * slots + chunk_end` and one
    control token. Where a layout has `response_tags`, one follows <response> and is learnt with the text.
    """

    name: str
    version: int = Field(ge=1)
    silent: int
    response: int
    eos: int
    audio: int
    slots: int = 10
    prefix: tuple[int, ...] = ()
    prefix_end: tuple[int, ...] = ()
    chunk_begin: tuple[int, ...] = ()
    chunk_end: tuple[int, ...] = ()
    response_tags: tuple[int, ...] = ()
    """The first is written where nothing else is known, any is read."""
    tag_names: tuple[str, ...] = ()
    """What the tags mean."""

    @property
    def id(self) -> str:
        """`name/version`, as written in every token array."""
        return f"{self.name}/{self.version}"

    def tag(self, name: str) -> tuple[int, ...]:
        """The tag of a response that sounds like `name`; the first where the layout does not know it, none where it has none."""
        place = self.tag_names.index(name) if name in self.tag_names else 0
        return self.response_tags[place : place + 1]

    def control_ids(self) -> frozenset[int]:
        """Every id this layout gives a meaning of its own, except the audio placeholder."""
        framing = (*self.prefix, *self.prefix_end, *self.chunk_begin, *self.chunk_end, *self.response_tags)
        return frozenset({self.silent, self.response, self.eos, *framing})


SOUNDFLOW: Final = TokenLayout(
    name="soundflow",
    version=1,
    silent=FIRST_FREE_ROW,
    response=FIRST_FREE_ROW + 1,
    eos=FIRST_FREE_ROW + 2,
    audio=151_646,  # <|AUDIO|>
    prefix=(FIRST_FREE_ROW + 3,),  # begin of instruction
    prefix_end=(FIRST_FREE_ROW + 4,),  # end of instruction
)

AUTHORS: Final = TokenLayout(
    name="authors",
    version=1,
    silent=151_605,  # KEEP_SILENCE
    response=151_644,  # TEXT_BEGIN
    eos=151_643,  # TEXT_END
    audio=151_608,  # PAD
    prefix=(151_609, 151_611, 151_644, 151_644),  # ONLINE ENGLISH SYSTEM TEXT_BEGIN; the release gives the last two one id
    prefix_end=(151_643,),  # TEXT_END
    chunk_begin=(151_647,),  # AUDIO_BEGIN
    chunk_end=(151_602,),  # ASSISTANT
    response_tags=(151_618, 151_614, 151_615, 151_616, 151_617, 151_619),
    tag_names=("normal", "happy", "sad", "angry", "surprise", "urgent"),  # emotions
)

LAYOUTS: Final = {layout.id: layout for layout in (SOUNDFLOW, AUTHORS)}
LATEST: Final = {layout.name: layout for layout in (SOUNDFLOW, AUTHORS)}


def layout_of(layout_id: str) -> TokenLayout:
    """The layout called `name/version`; InputError when there is none."""
    try:
        return LAYOUTS[layout_id]
    except KeyError:
        raise InputError("unknown token layout", value=layout_id, remedy=f"Known: {', '.join(LAYOUTS)}") from None
