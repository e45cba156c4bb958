"""Rates for the bill of a recipe (`pipeline.estimate.estimate`), measured on this machine with a few of its streams."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import yaml

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.build.run import build
from soundflow.schemas.base import InputError
from soundflow.schemas.bill import Rates, RoleRate
from soundflow.schemas.recipe import Recipe

CALIBRATION_STREAMS: Final = 24


def calibrate(recipe_path: Path, on_event: Callable[[str], None] = lambda text: None) -> Rates:
    """Build a few streams of the recipe in a folder that goes away, and measure. Asks the language model when the recipe does.

    Raises what `pipeline.build.run.build` does.
    """
    recipe = Recipe.from_yaml(recipe_path)
    count = min(CALIBRATION_STREAMS, recipe.streams)
    document = recipe.model_dump(mode="json", exclude={"budget"})
    document |= {"streams": count, "shards": 1, "clips": str((recipe_path.parent / recipe.clips).absolute())}
    measured: dict[str, tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="soundflow-plan-") as name:
        small = Path(name) / "recipe.yaml"
        small.write_text(yaml.safe_dump(document), encoding="utf-8")
        for form in ("stored", "virtual"):
            on_event(f"building {count} streams, {form}")
            out = Path(name) / form
            build(small, out, executor="inline", virtual=form == "virtual")
            (manifest,) = BuildDir(out).manifests()
            measured[form] = float(manifest.timings["cpu_seconds"]), float(manifest.bytes), manifest.seconds
            redrawn = (sum(manifest.redraws.values()) + len(manifest.rejected)) / count
            cost = manifest.cost
    cpu, size, seconds = measured["stored"]
    if not seconds:
        raise InputError("no stream of the calibration was kept", file=recipe_path, remedy="Build a few and look at the report")
    rates = Rates(
        origin=f"measured on this machine with {count} streams of this recipe",
        core_seconds_per_audio_second=max(cpu / seconds, 1e-9),
        bytes_per_audio_second=size / seconds,
        virtual_bytes_per_audio_second=measured["virtual"][1] / seconds,
        made_again=redrawn,
    )
    told = {role: told.asked + told.replayed for role, told in cost.items()}
    llm = {
        role: RoleRate(
            calls=usage.calls / count,
            input_tokens=usage.input_tokens / usage.calls,
            output_tokens=usage.output_tokens / usage.calls,
        )
        for role, usage in told.items()
        if usage.calls
    }
    return rates.model_copy(update={"llm": rates.llm | llm})
