"""Decide the label and caption of the rows of a source. A text that names or describes nothing is left out and never spoken."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from soundflow.operators.labels.maps import LabelMap, is_class_name, label_of_id
from soundflow.operators.labels.words import has_no_description, has_no_name, has_sentence_words
from soundflow.operators.sources.paths import is_informative, title_of
from soundflow.operators.sources.rows import LabelSource, RowOrRejection, SourceRow
from soundflow.schemas.taxonomy import label_words
from soundflow.schemas.text import one_line


def name_clips(found: Iterable[RowOrRejection], maps: Sequence[LabelMap] = ()) -> Iterator[RowOrRejection]:
    """Yield the rows with their final label and caption, and the rejections unchanged.

    The first of `maps` that has a label renames it; ids of AudioSet are always replaced by their names. Labels that name
    nothing and captions that describe nothing move to `unused_label` and `unused_caption`.
    """
    for row in found:
        yield _name(row, maps) if isinstance(row, SourceRow) else row


def are_classes(sources: Sequence[Path]) -> bool:
    """Whether several sources are folders of classes, as `clips index sounds/*` gives them.

    They lie in one folder, and all have names of sounds: `freesound/` and `field_trip/` side by side are collections.
    """
    places = [source.absolute() for source in sources]
    names = [place.name for place in places]
    is_class = all(place.is_dir() and is_informative(place.name) and is_class_name(place.name) for place in places)
    return len(set(names)) > 1 and len({place.parent for place in places}) == 1 and is_class


def label_by_source(found: Iterable[RowOrRejection], source: Path) -> Iterator[RowOrRejection]:
    """Yield the rows; those without a label from manifest, table or folder have the name of their source."""
    for row in found:
        if isinstance(row, SourceRow) and not row.listed and row.label_source in ("", LabelSource.FILE_NAME):
            yield row.model_copy(update={"label": one_line(source.absolute().name), "label_source": LabelSource.FOLDER})
        else:
            yield row


def _name(row: SourceRow, maps: Sequence[LabelMap]) -> SourceRow:
    changes: dict[str, str] = {}
    renamed = next((new for labels in maps if (new := labels.find(row.label))), None) or label_of_id(row.label)
    if renamed:
        changes |= {"label": renamed, "label_source": LabelSource.MAP}
    elif row.label and has_no_name(row.label):
        changes |= {"label": "", "label_source": "", "unused_label": row.label}
    if row.caption and (has_no_description(row.caption) or _is_from_file_name(row.caption, row.path)):
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
