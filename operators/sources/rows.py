"""The row of a recording in a source, its id and its role."""

from __future__ import annotations

import difflib
import hashlib
import re
from enum import StrEnum
from typing import Final

from soundflow.schemas.clip import ClipFacts, ClipRejection, ClipRole
from soundflow.schemas.text import one_line

ID_LENGTH: Final = 200
"""Maximum length of a clip id (`schemas.clip.Clip`)."""

ROLE_NAMES: Final = {role.value: role for role in ClipRole} | {
    "noise": ClipRole.NOISE_EVENT,
    "fg": ClipRole.FOREGROUND,
    "bg": ClipRole.BACKGROUND,
    "amb": ClipRole.AMBIENT,
}


class LabelSource(StrEnum):
    """Where a label comes from. A manifest may state another source in its column `label_source`, such as `model`."""

    MANIFEST = "manifest"
    METADATA = "metadata"
    """The published tables of a dataset."""
    FOLDER = "folder"
    FILE_NAME = "file name"
    TRANSCRIPT = "transcript"
    """Speech with a transcript and no other label is labelled `speech`."""
    MAP = "map"
    """A label map renamed the label."""


class SourceRow(ClipFacts):
    """A recording as its source describes it; the file has not been opened yet."""

    id: str
    """Unique within its source: the path relative to the source, made safe, unless a manifest gives an id."""
    path: str
    """Absolute."""
    split: str
    listed: bool
    """A manifest names the recording; otherwise a folder walk found it."""
    wer: float | None = None
    label_source: str = ""
    """Where the label comes from (`LabelSource`, or what the manifest states); empty without a label."""
    unused_label: str = ""
    """A label of the source that names nothing (`operators.labels.words.has_no_name`); `label` is then empty."""
    unused_caption: str = ""
    """A caption of the source that is no description (`operators.labels.words.has_no_description`); `caption` is then empty."""
    excerpt: str = ""
    """The part of the recording that is meant, as `START+SECONDS` or `START+`; empty for the whole recording."""


RowOrRejection = SourceRow | ClipRejection


tidy: Final = one_line


def undo_quoting(text: str) -> str:
    """Return a cell that was read without quoting as its author wrote it: `"A ""b"" c."` → `A "b" c.`

    Only a cell with doubled quotation marks, as CSV writers produce them, is changed.
    """
    inner = text[1:-1]
    is_quoted = len(text) > 3 and text[0] == text[-1] == '"' and '""' in inner and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else text


def is_storable(text: str) -> bool:
    """Return whether `text` is valid Unicode. An undecodable file name or a lone surrogate is not."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Return `text` with invalid Unicode as escapes, for messages and lists."""
    return text.encode("utf-8", "backslashreplace").decode()


def safe_id(text: str) -> str:
    """Return `text` as a clip id. If it has to be changed, ten hex digits of its hash keep it unique."""
    if text.isprintable() and len(text) <= ID_LENGTH and text[:1] not in " /\\":
        return text
    safe = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", "_", text)
    safe = re.sub(r"^[\s/\\]", "_", safe)
    if safe == text and len(safe) <= ID_LENGTH:
        return safe
    return f"{safe[: ID_LENGTH - 11]}~{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def is_valid_id(text: str) -> bool:
    """Return whether `text` is a clip id without changes."""
    return bool(text) and safe_id(text) == text


def parse_role(text: str) -> ClipRole | str:
    """Return the role that `text` names (`noise`, `fg`, `bg` and `amb` are aliases), or why it names none, as a sentence."""
    name = text.strip().lower().replace("-", "_").replace(" ", "_")
    if name in ROLE_NAMES:
        return ROLE_NAMES[name]
    close = difflib.get_close_matches(name, ROLE_NAMES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"roles: {', '.join(role.value for role in ClipRole)}"
    return f"{printable(text)!r} is no role; {hint}"
