"""Decide the label and caption of the rows of a source. A text that names or describes nothing is left out and never spoken."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from soundflow.operators.labels.words import has_sentence_words, is_debris, is_nameless
from soundflow.operators.sources.paths import title_of
from soundflow.operators.sources.rows import RowOrRejection, SourceRow
from soundflow.schemas.taxonomy import label_words


def name_clips(found: Iterable[RowOrRejection]) -> Iterator[RowOrRejection]:
    """Yield the rows with their final label and caption, and the rejections unchanged.

    Labels that name nothing and captions that describe nothing move to `unused_label` and `unused_caption`.
    """
    for row in found:
        yield _name(row) if isinstance(row, SourceRow) else row


def _name(row: SourceRow) -> SourceRow:
    changes: dict[str, str] = {}
    if row.label and is_nameless(row.label):
        changes |= {"label": "", "label_source": "", "unused_label": row.label}
    if row.caption and (is_debris(row.caption) or _is_from_file_name(row.caption, row.path)):
        changes |= {"caption": "", "unused_caption": row.caption}
    return row.model_copy(update=changes) if changes else row


def _is_from_file_name(caption: str, path: str) -> bool:
    """Return whether a caption is the name of its file: with the digits of the name, or with the user of a Freesound name."""
    stem = os.path.basename(path).rpartition(".")[0]  # noqa: PTH119 (a million times)
    if has_sentence_words(caption):
        return False
    if _alphanumeric(caption) == _alphanumeric(stem):
        return any(map(str.isdigit, caption))
    return title_of(stem) != stem and label_words(caption) == label_words(stem)


def _alphanumeric(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
