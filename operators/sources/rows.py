"""The row of a recording in a source, and what its path says about it."""

from __future__ import annotations

import difflib
import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple

from soundflow.schemas.clip import ClipFacts, ClipRejection, ClipRole
from soundflow.schemas.taxonomy import label_words

ID_LENGTH: Final = 200
"""Maximum length of a clip id (`schemas.clip.Clip`)."""

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
"""Words of folder names that say nothing about the sound."""


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


RowOrRejection = SourceRow | ClipRejection


class PathGuess(NamedTuple):
    """What a path says about a recording."""

    role: ClipRole
    label: str
    caption: str
    split: str


def tidy(text: str) -> str:
    """Return `text` as one line, without surrounding or repeated white space and control characters."""
    return " ".join((text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)).split())


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
    if name in _ROLE_NAMES:
        return _ROLE_NAMES[name]
    close = difflib.get_close_matches(name, _ROLE_NAMES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"roles: {', '.join(role.value for role in ClipRole)}"
    return f"{printable(text)!r} is no role; {hint}"


def parse_language(text: str) -> str | None:
    """Return `text` as a language code (`en`, `zh-CN`; accepts `EN_us`), or None when it is none."""
    first, *rest = re.split("[-_]", text)
    code = "-".join((first.lower(), *rest))
    return code if re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", code) else None


def guess_from_path(folders: tuple[str, ...], stem: str, source: str) -> PathGuess:
    """Infer role, label, caption and split from a path.

    `folders`: names of the folders between source and file; `stem`: file name without suffix; `source`: name of the source
    folder, which also determines the role (`clips index speech/ noise/`) and is the last choice for the label.
    """
    role, label, split = _guess_from_folders(folders, source)
    words = label_words(stem)
    caption = " ".join(words) if any(len(word) > 2 for word in words) else ""
    return PathGuess(role, label or tidy(caption or (source if _is_informative(source) else "") or stem), caption, split)


@lru_cache(maxsize=4096)
def _guess_from_folders(folders: tuple[str, ...], source: str) -> tuple[ClipRole, str, str]:
    """Return role, label (may be empty) and split, which all files of one folder share."""
    label = next((name for name in reversed(folders) if _is_informative(name)), "")
    split = next((words[0] for name in reversed(folders) if (words := label_words(name)) and words[0] in _SPLITS), "train")
    return _guess_role((source, *folders)), tidy(label), split


def _guess_role(names: tuple[str, ...]) -> ClipRole:
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


def _is_informative(name: str) -> bool:
    words = label_words(name)
    return any(len(word) > 1 for word in words) and not set(words) <= _UNINFORMATIVE
