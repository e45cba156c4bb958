"""The initial checkpoint of training (`soundflow model init`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soundflow.model.frontend import BLOCK_FRAMES
from soundflow.model.presets import PRESETS
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.schemas.atomic_file import atomic_folder
from soundflow.schemas.base import InputError
from soundflow.training.corpus import StoredCorpus, layouts, text_ids
from soundflow.training.freezing import count


@dataclass(frozen=True, slots=True)
class InitialModel:
    """Summary of a new checkpoint."""

    model: str
    parameters: int
    words: int
    """Text ids with a row of their own."""
    layout: str

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


def init_model(
    base: str, out: Path, corpora: Sequence[Path], *, layout: str = "soundflow/1", chunk_ms: int = 400, seed: int = 0
) -> InitialModel:
    """Write the checkpoint a first stage starts from.

    `base` is a preset to create from scratch, with the vocabulary of `corpora`, or a checkpoint to adapt. Raises InputError if
    `out` exists, a preset has no corpus, or the corpora have different token layouts.
    """
    if out.exists():
        raise InputError("exists already", file=out, remedy="Choose another directory with -o")
    frames, rest = divmod(chunk_ms, 10)
    if rest or frames % BLOCK_FRAMES:
        raise InputError("is not a multiple of 200 ms", field="--chunk-ms", value=chunk_ms, remedy="Use 200, 400, 600 …")
    small = base in PRESETS and base != "3b"
    if base == "3b":
        raise InputError("is a preset without weights", field="model", value=base, remedy="Pass a checkpoint: a path or a hub id")
    if small and not corpora:
        why = "a model from scratch takes its vocabulary from corpora"
        raise InputError(why, field="--corpus", remedy="Pass at least one build")
    source = StoredCorpus(*corpora) if corpora else None
    if source is not None:
        found = layouts(source)
        if len(found) > 1:
            remedy = "Pass builds of one output.token_layout"
            raise InputError("the corpora have different token layouts", field="--corpus", value=sorted(found), remedy=remedy)
        layout = found.pop()
    streaming = StreamingConfig(layout=layout, chunk_frames=frames, text_ids=text_ids(source) if small and source else None)
    model = StreamingThinker.from_scratch(base, streaming, seed) if small else StreamingThinker.adapt(base, streaming, seed)
    with atomic_folder(out) as aside:
        model.save(aside)
    rows = model.config.text_config.vocab_size
    return InitialModel(str(out), count(model.parameters()), len(streaming.text_ids) if streaming.text_ids else rows, layout)
