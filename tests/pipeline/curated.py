"""What tests of curated builds share: a recipe whose scenes a language model plans, and its server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schemas.llm import LlmConfig
from tests.corpus import write_recipe
from tests.hostile_llm import HostileLlm


def write_curated(path: Path, clips: Path, server: HostileLlm, llm: dict[str, Any] | None = None, **change: Any) -> Path:
    """A recipe of every task over `clips` for the model behind `server`; `llm`: changes to that section.

    The seed is sent along: equal questions of two samples are two questions, also to the server's eye.
    """
    section = LlmConfig(model="m", server=server.settings(), send_seed=True).model_dump(mode="json", exclude_unset=True) | (
        llm or {}
    )
    document = {"scene": {"planner": "llm", "events": [3, 5]}, "llm": section, "generation": {"backend": "procedural"}}
    document["retrieval"] = {"embedder": "ngrams"}
    return write_recipe(path, clips, **document | change)
