"""`soundflow estimate`: the expected size and cost of a recipe, before anything is built.

A few hundred scenes are planned from a sample of the clip index, without audio. The rest is arithmetic over them and the rates,
so the time an estimate takes does not depend on the size of the recipe.
"""

from __future__ import annotations

import math
import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from soundflow.operators.compose.clips import Palette, decided_pool
from soundflow.operators.curate.planning import check_tasks, plan_scene, weights_of
from soundflow.pipeline.clips.splits import split_pools
from soundflow.pipeline.corpus.versions import OPERATOR_VERSIONS
from soundflow.pipeline.estimate.index_sample import IndexSample
from soundflow.prompts import prompt_hash
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.estimate import BuildBudget, Estimate, Rates
from soundflow.schemas.identity import rng_for
from soundflow.schemas.llm import Usage
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe, fingerprint
from soundflow.schemas.scene import Scene
from soundflow.schemas.stream import due_chunk

PLANNED: Final = 300
"""Streams planned per estimate; the estimated hours are then within about 2 %."""
ROWS: Final = 20_000
"""Clips that these streams are planned from."""
TTS_PREFIXES: Final = ("hibari", "kokoro", "cosyvoice", "openai", "tts")
"""Prefixes of the voice (or, without a voice, the source) of clips with synthesized speech."""


@dataclass(frozen=True, slots=True)
class Machines:
    """The hardware of a build."""

    nodes: int = 1
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Per node."""
    gpus: int = 0
    """In total."""


def estimate(
    recipe_path: Path,
    machines: Machines | None = None,
    rates: Rates | None = None,
    planned: int = PLANNED,
    clips: Path | None = None,
) -> Estimate:
    """Return the estimate of a recipe.

    `clips`: a clip index to use instead of the recipe's own, for example while that does not exist yet.

    Raises InputError for an invalid recipe or index, or if the index cannot serve the recipe's sub-tasks.
    """
    recipe = Recipe.from_yaml(recipe_path)
    pool = IndexSample(clips or recipe_path.parent / recipe.clips, ROWS)
    pools = split_pools(recipe, decided_pool(pool, recipe))
    palettes = {name: Palette.of_recipe(own, recipe) for name, own in pools.items()}
    for split, palette in palettes.items():
        check_tasks(recipe, palette, recipe_path, split)
    mark = fingerprint(recipe, pool.footer.content_hash, prompt_hash(), OPERATOR_VERSIONS)
    seconds: dict[str, list[float]] = defaultdict(list)
    responses, events = 0, 0
    names = sorted(pools)
    drawn = max(1, min(planned, recipe.streams))
    sizes = recipe.shard_sizes()
    for number in range(drawn):
        shard = number * recipe.shards // drawn
        name = names[number % len(names)]
        rng = rng_for(mark, shard, number % sizes[shard], "bill", number)
        # Curated scenes are as long as drawn ones: they have the same number of events from the same clips.
        scene = plan_scene(recipe, palettes[name], pools[name], rng)
        if isinstance(scene, Ok):
            seconds[scene.value.task.value].append(_seconds(scene.value, pool))
            responses += _responses(scene.value)
            events += len(scene.value.events)
    count = sum(map(len, seconds.values()))
    if not count:
        raise InputError("no stream can be planned: the index has too few clips", file=recipe_path, field="clips")
    return _Estimator(recipe, pool, rates or Rates(), machines or Machines()).estimate(
        mark, _weights(recipe, list(palettes.values())), seconds, responses / count, events / count
    )


def _weights(recipe: Recipe, palettes: Sequence[Palette]) -> dict[str, float]:
    """Return each sub-task's share of the streams, averaged over the splits' palettes.

    A capability's share goes to those of its sub-tasks that the clips can serve.
    """
    shares: dict[str, float] = {}
    for palette in palettes:
        weights = weights_of(recipe, palette)
        for task, weight in weights.items():
            shares[task.value] = shares.get(task.value, 0.0) + weight / sum(weights.values()) / len(palettes)
    return shares


def _seconds(scene: Scene, pool: IndexSample) -> float:
    """Return the length of a composed scene: its foreground with pauses, in whole chunks (paper, Algorithm 3)."""
    length = sum(event.gap + pool.get(event.clip_id).samples for event in scene.events if event.role is ClipRole.FOREGROUND)
    return due_chunk(max(length, 1)) * c.CHUNK_SECONDS


def _responses(scene: Scene) -> int:
    """Count the responses of a scene; pieces of a running text that are due in one chunk of their event count once."""
    pieces = [(number, piece) for number, event in enumerate(scene.events) for piece in event.responses]
    joined = {(number, due_chunk(piece.evidence)) for number, piece in pieces if piece.joins}
    return len(joined) + sum(not piece.joins for _, piece in pieces)


class _Estimator:
    def __init__(self, recipe: Recipe, pool: IndexSample, rates: Rates, machines: Machines):
        self.recipe, self.pool, self.rates, self.machines = recipe, pool, rates, machines

    def estimate(
        self, mark: str, weights: Mapping[str, float], seconds: Mapping[str, list[float]], responses: float, events: float
    ) -> Estimate:
        recipe, rates, machines = self.recipe, self.rates, self.machines
        items = _apportion(recipe.streams, weights)
        everything = [value for values in seconds.values() for value in values]
        mean = {task: statistics.fmean(seconds.get(task) or everything) for task in items}
        task_hours = {task: items[task] * mean[task] / 3600 for task in items}
        hours = sum(task_hours.values())
        error = math.sqrt(sum((items[task] / 3600) ** 2 * _variance_of_mean(seconds.get(task, ())) for task in items))
        audio = hours * 3600
        clip_seconds = self.pool.footer.seconds
        llm = self._llm()
        generated = self._generated(events)
        spoken = self._spoken_share() * clip_seconds
        gpu = {
            "generation": generated * rates.generated_seconds * rates.generation_gpu_seconds_per_second / 3600
            if recipe.generation.backend == "http"
            else 0.0,
            "tts": spoken * rates.spoken_attempts * rates.tts_gpu_seconds_per_second / 3600,
            "asr": spoken * rates.spoken_attempts * rates.asr_gpu_seconds_per_second / 3600,
        }
        core_hours = audio * (1 + rates.made_again) * rates.core_seconds_per_audio_second / 3600
        gigabytes = audio * rates.bytes_per_audio_second / 1e9
        money = sum(usage.money for usage in llm.values())
        money += generated * rates.generated_seconds * recipe.generation.price_per_second
        wall = {
            "cores": core_hours / (machines.nodes * machines.cores),
            "disk": gigabytes * 1e9 / rates.disk_bytes_per_second / machines.nodes / 3600,
            "gpus": sum(gpu.values()) / max(machines.gpus, 1),
            "language model": self._llm_hours(llm),
        }
        wall = {name: value for name, value in wall.items() if value > 0}
        estimated = Estimate(
            name=recipe.name,
            fingerprint=mark,
            streams=recipe.streams,
            shards=recipe.shards,
            streams_per_shard=-(-recipe.streams // recipe.shards),
            items=items,
            task_hours=task_hours,
            hours=hours,
            hours_error=error,
            planned=len(everything),
            responses=round(responses * recipe.streams),
            clips=self.pool.footer.clips,
            clip_hours=clip_seconds / 3600,
            uses_per_clip=events * recipe.streams / max(self.pool.footer.clips, 1),
            max_clip_uses=recipe.max_clip_uses,
            gigabytes=gigabytes,
            virtual_gigabytes=(audio * rates.virtual_bytes_per_audio_second + clip_seconds * rates.clip_bytes_per_second) / 1e9,
            llm=llm,
            generated_sounds=round(generated),
            tts_hours=spoken * rates.spoken_attempts / 3600,
            asr_hours=spoken * rates.spoken_attempts / 3600,
            core_hours=core_hours,
            gpu_hours={name: value for name, value in gpu.items() if value > 0},
            money=money,
            nodes=machines.nodes,
            cores=machines.cores,
            gpus=machines.gpus,
            wall_hours=wall,
            bottleneck=max(wall, key=lambda name: wall[name]),
            rates=rates,
        )
        return estimated.model_copy(update={"over_budget": tuple(exceeded_limits(recipe.budget, estimated))})

    def _llm(self) -> dict[str, Usage]:
        usage: dict[str, Usage] = {}
        for role in self.recipe.llm_roles():
            rate = self.rates.llm.get(role)
            if rate is None or self.recipe.llm is None:
                continue
            calls = rate.calls * self.recipe.streams
            tokens = Usage(
                calls=round(calls), input_tokens=round(calls * rate.input_tokens), output_tokens=round(calls * rate.output_tokens)
            )
            usage[role] = self.recipe.llm.priced(self.recipe.llm.answering(role).model, tokens)
        return usage

    def _llm_hours(self, llm: Mapping[str, Usage]) -> float:
        """Return hours by latency at the recipe's concurrency or by the server's rate limits, whichever is longer."""
        if not llm or self.recipe.llm is None:
            return 0.0
        server = self.recipe.llm.server
        calls, tokens = sum(usage.calls for usage in llm.values()), sum(usage.tokens for usage in llm.values())
        paces = [calls * self.rates.seconds_per_call / server.concurrency / 3600]
        paces += [calls / server.requests_per_minute / 60] if server.requests_per_minute else []
        paces += [tokens / server.tokens_per_minute / 60] if server.tokens_per_minute else []
        return max(paces)

    def _generated(self, events: float) -> float:
        generates = self.recipe.curates and self.recipe.generation.backend not in ("none", "procedural")
        return events * self.recipe.streams * self.rates.generated_share if generates else 0.0

    def _spoken_share(self) -> float:
        """Return the fraction of the index's audio that is synthesized speech."""
        total = spoken = 0
        for brief in self.pool.briefs():
            total += brief.samples
            if brief.kind == "speech" and (brief.voice or brief.source).lower().startswith(TTS_PREFIXES):
                spoken += brief.samples
        return spoken / max(total, 1)


def _apportion(streams: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Return integer counts proportional to `weights` that add up to `streams` (largest remainders)."""
    total = sum(weights.values())
    exact = {name: streams * weight / total for name, weight in sorted(weights.items())}
    counts = {name: int(value) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in order[: streams - sum(counts.values())]:
        counts[name] += 1
    return counts


def _variance_of_mean(values: list[float] | tuple[()]) -> float:
    """Return the variance of the mean of `values`."""
    return statistics.variance(values) / len(values) if len(values) > 1 else 0.0


def exceeded_limits(budget: BuildBudget, estimated: Estimate) -> list[str]:
    """Return the limits of `budget` that `estimated` exceeds, as `NAME VALUE (limit LIMIT)`."""
    values = {
        "hours": estimated.hours,
        "gigabytes": estimated.gigabytes,
        "core_hours": estimated.core_hours,
        "gpu_hours": sum(estimated.gpu_hours.values()),
        "money": estimated.money,
    }
    limits = {name: limit for name in values if (limit := getattr(budget, name)) is not None}
    return [f"{name} {values[name]:.4g} (limit {limit:g})" for name, limit in limits.items() if values[name] > limit]
