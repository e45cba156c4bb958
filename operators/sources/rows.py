"""One row per recording somebody offers, and what can be known of it from its path alone."""

from __future__ import annotations

import difflib
import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple

from soundflow.schemas.clip import ClipFacts, ClipRejection, ClipRole
from soundflow.schemas.taxonomy import label_words

ID_LENGTH: Final = 200
"""Longest clip id (schemas.clip.Clip)."""

_ROLE_NAMES: Final = {role.value: role for role in ClipRole} | {
    "noise": ClipRole.NOISE_EVENT,
    "fg": ClipRole.FOREGROUND,
    "bg": ClipRole.BACKGROUND,
    "amb": ClipRole.AMBIENT,
}
_SPLITS: Final = frozenset("train dev valid validation val test eval".split())
_FOLDER_WORDS = (
    "audio wav wavs flac mp3 ogg clip clips sound sounds sample samples data dataset recording recordings media file files "
    "noise noises event events ambient ambience background foreground fg bg amb speech clean other unbalanced balanced"
)
_UNINFORMATIVE: Final = _SPLITS | frozenset(_FOLDER_WORDS.split())
"""Folder names that say nothing about what is heard."""


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


Found = SourceRow | ClipRejection


class Guess(NamedTuple):
    """What a path says about a recording."""

    role: ClipRole
    label: str
    caption: str
    split: str


def tidy(text: str) -> str:
    """One line, no surrounding or repeated white space, no control characters."""
    return " ".join((text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)).split())


def storable(text: str) -> bool:
    """Whether `text` is valid Unicode (an undecodable file name or a lone surrogate is not)."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """`text` with what is not valid Unicode as escapes, for messages and lists."""
    return text.encode("utf-8", "backslashreplace").decode()


def safe_id(text: str) -> str:
    """`text` as a clip id; when anything had to change, ten hex digits of its hash keep it unique."""
    if text.isprintable() and len(text) <= ID_LENGTH and text[:1] not in " /\\":
        return text
    safe = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", "_", text)
    safe = re.sub(r"^[\s/\\]", "_", safe)
    if safe == text and len(safe) <= ID_LENGTH:
        return safe
    return f"{safe[: ID_LENGTH - 11]}~{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def valid_id(text: str) -> bool:
    """Whether a manifest's own id can be a clip id as it stands."""
    return bool(text) and safe_id(text) == text


def parse_role(text: str) -> ClipRole | str:
    """The role `text` names (`noise`, fg, bg and amb are understood), or a sentence saying why it names none."""
    name = text.strip().lower().replace("-", "_").replace(" ", "_")
    if name in _ROLE_NAMES:
        return _ROLE_NAMES[name]
    close = difflib.get_close_matches(name, _ROLE_NAMES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(role.value for role in ClipRole)}"
    return f"{printable(text)!r} is not a role; {hint}"


def parse_language(text: str) -> str | None:
    """`text` as a language code (`en`, `zh-CN`; `EN_us` is understood), or None when it is none."""
    first, *rest = re.split("[-_]", text)
    code = "-".join((first.lower(), *rest))
    return code if re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", code) else None


def guess(folders: tuple[str, ...], stem: str, source: str) -> Guess:
    """Infer role, label, caption and split from a path.

    `folders`: names from below the source down to the file; `stem`: the file's name without suffix; `source`: the name of
    the source folder itself, which counts for the role (`clips index speech/ noise/`) and as the last choice of a label.
    """
    role, label, split = _of_folders(folders, source)
    words = label_words(stem)
    caption = " ".join(words) if any(len(word) > 2 for word in words) else ""
    return Guess(role, label or tidy(caption or (source if _informative(source) else "") or stem), caption, split)


@lru_cache(maxsize=4096)
def _of_folders(folders: tuple[str, ...], source: str) -> tuple[ClipRole, str, str]:
    """Role, label (may be empty) and split: what all files of one folder share."""
    label = next((name for name in reversed(folders) if _informative(name)), "")
    split = next((words[0] for name in reversed(folders) if (words := label_words(name)) and words[0] in _SPLITS), "train")
    return _role((source, *folders)), tidy(label), split


def _role(names: tuple[str, ...]) -> ClipRole:
    words = {word for name in names for word in label_words(name)}
    nearest = next((set(label_words(name)) for name in reversed(names) if _ROLE_NAMES.keys() & set(label_words(name))), set())
    ambient = any(word == "amb" or word.startswith("ambien") for word in words)
    if nearest & {"foreground", "fg"}:
        return ClipRole.FOREGROUND
    if words & {"noise", "noises"}:
        return ClipRole.NOISE_AMBIENT if ambient else ClipRole.NOISE_EVENT
    if ambient:
        return ClipRole.AMBIENT
    return ClipRole.BACKGROUND if words & {"background", "backgrounds", "bg"} else ClipRole.FOREGROUND


def _informative(name: str) -> bool:
    words = label_words(name)
    return any(len(word) > 1 for word in words) and not set(words) <= _UNINFORMATIVE
