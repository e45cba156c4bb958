"""`soundflow model init`: the checkpoint a first stage begins from."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soundflow.model.frontend import BLOCK_FRAMES
from soundflow.model.presets import PRESETS
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.schemas.base import InputError
from soundflow.training.corpus import StoredCorpus, layouts, text_ids
from soundflow.training.freezing import count


@dataclass(frozen=True, slots=True)
class MadeModel:
    """What was written."""

    model: str
    parameters: int
    words: int
    """Text ids the model has a row for."""
    layout: str

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self)


def make_model(
    base: str, out: Path, corpora: Sequence[Path], *, layout: str = "soundflow/1", chunk_ms: int = 400, seed: int = 0
) -> MadeModel:
    """Write a checkpoint. InputError when `out` is taken, a small model has no corpus, or corpora differ in layout."""
    if out.exists():
        raise InputError("is there already", file=out, remedy="Choose another directory with -o")
    frames, rest = divmod(chunk_ms, 10)
    if rest or frames % BLOCK_FRAMES:
        raise InputError("is no multiple of 200 ms", field="--chunk-ms", value=chunk_ms)
    small = base in PRESETS and base != "3b"
    if base == "3b":
        raise InputError("has no weights of its own", field="model", value=base, remedy="Give a checkpoint: a path or a hub id")
    if small and not corpora:
        raise InputError("a model from scratch knows the words of its corpora", field="--corpus", remedy="Give at least one")
    source = StoredCorpus(*corpora) if corpora else None
    if source is not None:
        found = layouts(source)
        if len(found) > 1:
            raise InputError("the corpora have several token layouts", field="--corpus", value=sorted(found))
        layout = found.pop()
    streaming = StreamingConfig(layout=layout, chunk_frames=frames, text_ids=text_ids(source) if small and source else None)
    model = StreamingThinker.from_scratch(base, streaming, seed) if small else StreamingThinker.adapt(base, streaming, seed)
    aside = out.with_name(f"_tmp-{out.name}")
    shutil.rmtree(aside, ignore_errors=True)
    model.save(aside)
    aside.replace(out)
    rows = model.config.text_config.vocab_size
    return MadeModel(str(out), count(model.parameters()), len(streaming.text_ids) if streaming.text_ids else rows, layout)
