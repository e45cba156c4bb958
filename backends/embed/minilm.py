"""The default embedder: all-MiniLM-L6-v2 (English), int8 weights, on one CPU thread with onnxruntime.

The weights are int8 and the arithmetic is float32, so the other texts of a batch can affect a vector by rounding only; batches
contain texts of one length, without padding. Measured: the same bits alone and in any batch.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.protocols.embedding import Vectors, embed_worded, normalize
from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.base import InputError

VERSION: Final = "1"
"""Raise it when any text gets another vector. Hashes pin the files."""
DIMENSION: Final = 384
LONGEST: Final = 256
"""Tokens of a text that count, as set by the authors of the model."""
BATCH_TOKENS: Final = 384
"""Tokens of a batch; larger batches are not faster on a CPU."""
FILES: Final = {
    "minilm/model.onnx": "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    "minilm-tokenizer/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
FETCH: Final = "Run: soundflow assets fetch minilm minilm-tokenizer"
INSTALL: Final = "pip install 'soundflow-audio[models]'"


def fetched() -> bool:
    """Return whether both files and their runtimes are installed."""
    try:
        _runtimes()
    except InputError:
        return False
    return all((asset_dir() / name).is_file() for name in FILES)


class MiniLm:
    """The `Embedder` all-MiniLM-L6-v2, opened once per process and directory."""

    name = "all-MiniLM-L6-v2-int8"
    version = VERSION
    dimension = DIMENSION

    def __init__(self, tokenizer: Any, session: Any):
        self._tokenizer, self._session = tokenizer, session

    @classmethod
    def open(cls) -> MiniLm:
        """Open the fetched assets; InputError if a file is missing or has the wrong hash, or if a runtime is not installed."""
        return _opened(asset_dir())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`; about 2 ms per text on one core."""
        return embed_worded(texts, self._embed, DIMENSION)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        by_length: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
        for row, encoding in enumerate(map(self._tokenizer.encode, texts)):
            by_length[len(encoding.ids)].append((row, encoding.ids))
        vectors = np.zeros((len(texts), DIMENSION))
        for length, members in by_length.items():
            size = max(1, BATCH_TOKENS // length)
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                vectors[[row for row, _ in batch]] = self._run(np.array([ids for _, ids in batch], dtype=np.int64))
        return normalize(vectors)

    def _run(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Token ids, (texts, tokens) → mean of the last layer, (texts, DIMENSION)."""
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        last: NDArray[np.float32] = self._session.run(None, inputs)[0]
        mean: NDArray[np.float64] = last.mean(axis=1, dtype=np.float64)
        return mean


def _runtimes() -> tuple[Any, Any]:
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise InputError(
            f"the embedder minilm needs the package {error.name}", field="retrieval.embedder", remedy=INSTALL
        ) from None
    return onnxruntime, tokenizers


@functools.cache
def _opened(directory: Path) -> MiniLm:
    onnxruntime, tokenizers = _runtimes()
    model, words = (_read(directory / name, sha256) for name, sha256 in FILES.items())
    tokenizer = tokenizers.Tokenizer.from_buffer(words)
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return MiniLm(tokenizer, onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))


def _read(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path, remedy=FETCH) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError("is not the file that the embedder minilm expects (wrong SHA-256)", file=path, remedy=FETCH)
    return data
