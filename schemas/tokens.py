"""Token layouts: the ids of the control tokens and audio slots, and the framing of a stream.

Text has the ids of Qwen's BPE (151,643 ranks). `soundflow` uses free rows of the embedding (151665 and above); `authors` uses
the ids of the paper's release.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from soundflow.schemas.base import InputError, Schema

TEXT_VOCABULARY: Final = 151_643
"""Number of ranks of Qwen's BPE. Text ids are smaller."""
FIRST_FREE_ROW: Final = 151_665
"""Rows 151665 to 151935 of the embedding of the 3B checkpoint are unused."""


class TokenLayout(Schema):
    """The mapping of a stream to token ids.

    A stream is `prefix + instruction + prefix_end`, then per chunk `chunk_begin + [audio] * slots + chunk_end` and one control
    token. In a layout with `response_tags`, one of them follows <response> and is part of the supervised text.
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
    """Tags of emotions. The first one is the default."""
    tag_names: tuple[str, ...] = ()
    """Names of `response_tags`."""

    @property
    def id(self) -> str:
        """`name/version`, as stored with every token array."""
        return f"{self.name}/{self.version}"

    def tag(self, name: str) -> tuple[int, ...]:
        """Return the tag of an emotion: the first tag for an unknown one, an empty tuple if the layout has no tags."""
        place = self.tag_names.index(name) if name in self.tag_names else 0
        return self.response_tags[place : place + 1]

    def control_ids(self) -> frozenset[int]:
        """Return all ids with a special meaning, except the audio placeholder."""
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
    prefix=(151_609, 151_611, 151_644, 151_644),  # ONLINE ENGLISH SYSTEM TEXT_BEGIN; the release uses one id for the last two
    prefix_end=(151_643,),  # TEXT_END
    chunk_begin=(151_647,),  # AUDIO_BEGIN
    chunk_end=(151_602,),  # ASSISTANT
    response_tags=(151_618, 151_614, 151_615, 151_616, 151_617, 151_619),
    tag_names=("normal", "happy", "sad", "angry", "surprise", "urgent"),  # emotions
)

LAYOUTS: Final = {layout.id: layout for layout in (SOUNDFLOW, AUTHORS)}
LATEST: Final = {layout.name: layout for layout in (SOUNDFLOW, AUTHORS)}


def layout_of(layout_id: str) -> TokenLayout:
    """Return the layout `name/version`. Raises InputError if it does not exist."""
    try:
        return LAYOUTS[layout_id]
    except KeyError:
        raise InputError("unknown token layout", value=layout_id, remedy=f"Known layouts: {', '.join(LAYOUTS)}") from None
