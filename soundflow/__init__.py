"""SoundFlow: build corpora of always-on audio streams, train a streaming model on them and serve it.

The public names are imported when they are first used, so that `import soundflow` is fast and needs neither Ray nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from soundflow.model.thinker import StreamingThinker
    from soundflow.operators.clean.tfjp import tfjp
    from soundflow.operators.compose.mixing import compose, render
    from soundflow.operators.tokens.tokenize import tokenize
    from soundflow.pipeline.build.run import build
    from soundflow.pipeline.check.verify import verify
    from soundflow.pipeline.clips.index import index_clips
    from soundflow.pipeline.clips.table import ClipIndex
    from soundflow.pipeline.export.open_corpus import open_corpus
    from soundflow.schemas.base import InputError
    from soundflow.schemas.recipe import Recipe
    from soundflow.schemas.stream import StreamPlan
    from soundflow.schemas.version import __version__

__all__ = [
    "ClipIndex",
    "InputError",
    "Recipe",
    "StreamPlan",
    "StreamingThinker",
    "__version__",
    "build",
    "compose",
    "index_clips",
    "open_corpus",
    "render",
    "tfjp",
    "tokenize",
    "verify",
]
_MODULES: Final = {
    "__version__": "schemas.version",
    "ClipIndex": "pipeline.clips.table",
    "InputError": "schemas.base",
    "Recipe": "schemas.recipe",
    "StreamPlan": "schemas.stream",
    "StreamingThinker": "model.thinker",
    "build": "pipeline.build.run",
    "compose": "operators.compose.mixing",
    "index_clips": "pipeline.clips.index",
    "open_corpus": "pipeline.export.open_corpus",
    "render": "operators.compose.mixing",
    "tfjp": "operators.clean.tfjp",
    "tokenize": "operators.tokens.tokenize",
    "verify": "pipeline.check.verify",
}
"""Public name → the module that defines it."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'soundflow' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"soundflow.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "soundflow":
            raise
        extra = "[train]" if name == "StreamingThinker" else ""
        raise ImportError(
            f"soundflow.{name} needs the package {error.name}: pip install 'soundflow-audio{extra}'", name=error.name
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names and what has been imported so far."""
    return sorted({*globals(), *__all__})
