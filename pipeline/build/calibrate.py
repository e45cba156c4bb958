"""Measure the rates of an estimate (`pipeline.estimate.estimate`) by building a few streams of the recipe on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from soundflow.pipeline.build.run import build
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import to_yaml
from soundflow.schemas.estimate import Rates, RoleRate
from soundflow.schemas.recipe import Recipe

CALIBRATION_STREAMS: Final = 24


def calibrate(recipe_path: Path, on_event: Callable[[str], None] = lambda text: None) -> Rates:
    """Build a few streams in a temporary directory, stored and virtual, and return the measured rates.

    Calls the recipe's language model if it has one. `on_event` receives a line for each step.

    Raises what `pipeline.build.run.build` raises, and InputError if no stream was kept.
    """
    recipe = Recipe.from_yaml(recipe_path)
    count = min(CALIBRATION_STREAMS, recipe.streams)
    document = recipe.model_dump(mode="json", exclude={"budget"})
    document |= {"streams": count, "shards": 1, "clips": str((recipe_path.parent / recipe.clips).absolute())}
    measured: dict[str, tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="soundflow-calibrate-") as name:
        small = Path(name) / "recipe.yaml"
        small.write_text(to_yaml(document), encoding="utf-8")
        for form in ("stored", "virtual"):
            on_event(f"Calibrating: building {count} streams ({form})")
            out = Path(name) / form
            build(small, out, executor="inline", virtual=form == "virtual")
            (manifest,) = BuildDir(out).manifests()
            measured[form] = float(manifest.timings["cpu_seconds"]), float(manifest.bytes), manifest.seconds
            redrawn = (sum(manifest.redraws.values()) + len(manifest.rejected)) / count
            cost = manifest.cost
    cpu, size, seconds = measured["stored"]
    if not seconds:
        remedy = "Build a few streams and run `soundflow report` to see why streams are rejected"
        raise InputError(f"calibration: all {count} streams were rejected", file=recipe_path, remedy=remedy)
    rates = Rates(
        origin=f"measured on this machine with {count} streams of this recipe",
        core_seconds_per_audio_second=max(cpu / seconds, 1e-9),
        bytes_per_audio_second=size / seconds,
        virtual_bytes_per_audio_second=measured["virtual"][1] / seconds,
        made_again=redrawn,
    )
    usages = {role: role_cost.asked + role_cost.replayed for role, role_cost in cost.items()}
    llm = {
        role: RoleRate(
            calls=usage.calls / count,
            input_tokens=usage.input_tokens / usage.calls,
            output_tokens=usage.output_tokens / usage.calls,
        )
        for role, usage in usages.items()
        if usage.calls
    }
    return rates.model_copy(update={"llm": rates.llm | llm})
