"""`soundflow plan`: the bill of a recipe before anything is made.

Some hundred streams are planned (scenes only, no audio) from a part of the clip index; everything else is arithmetic over them
and the rates, so that a recipe of millions costs what one of twenty does.
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

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.planning import check, plan_scene, weights_of
from soundflow.pipeline.clips.splits import split_pools
from soundflow.pipeline.corpus.versions import OPERATOR_VERSIONS
from soundflow.pipeline.estimate.pool import PlanPool
from soundflow.prompts import prompt_hash
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.bill import Bill, BuildBudget, Rates
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.identity import rng_for
from soundflow.schemas.llm import Usage
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe, fingerprint
from soundflow.schemas.scene import Scene
from soundflow.schemas.stream import due_chunk

PLANNED: Final = 300
"""Streams planned to reckon with: hours within some 2 %."""
ROWS: Final = 20_000
"""Clips they are planned from."""
MADE_BY_TTS: Final = ("hibari", "kokoro", "cosyvoice", "openai", "tts")
"""Beginnings of the voices, or of the sources, of clips that a model spoke."""


@dataclass(frozen=True, slots=True)
class Machines:
    """What works on a build."""

    nodes: int = 1
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Per node."""
    gpus: int = 0
    """In all."""


def plan(
    recipe_path: Path,
    machines: Machines | None = None,
    rates: Rates | None = None,
    planned: int = PLANNED,
    clips: Path | None = None,
) -> Bill:
    """The bill of a recipe, from the index `clips` instead of its own if given (while there is none yet).

    InputError for a bad recipe or index, or one that cannot serve the recipe's sub-tasks.
    """
    recipe = Recipe.from_yaml(recipe_path)
    pool = PlanPool(clips or recipe_path.parent / recipe.clips, ROWS)
    pools = split_pools(recipe, pool)
    palettes = {name: Palette.of(own, recipe.split) for name, own in pools.items()}
    for split, palette in palettes.items():
        check(recipe, palette, recipe_path, split)
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
        # Curated scenes have the length of drawn ones: the same numbers of events from the same clips.
        scene = plan_scene(recipe, palettes[name], pools[name], rng)
        if isinstance(scene, Ok):
            seconds[scene.value.task.value].append(_seconds(scene.value, pool))
            responses += _responses(scene.value)
            events += len(scene.value.events)
    count = sum(map(len, seconds.values()))
    if not count:
        raise InputError("no stream can be planned: the index has too few clips", file=recipe_path, field="clips")
    return _Reckoning(recipe, pool, rates or Rates(), machines or Machines()).bill(
        mark, _weights(recipe, list(palettes.values())), seconds, responses / count, events / count
    )


def _weights(recipe: Recipe, palettes: Sequence[Palette]) -> dict[str, float]:
    """The sub-tasks' shares, of a capability those the clips can serve; the mean over the palettes of all splits."""
    shares: dict[str, float] = {}
    for palette in palettes:
        weights = weights_of(recipe, palette)
        for task, weight in weights.items():
            shares[task.value] = shares.get(task.value, 0.0) + weight / sum(weights.values()) / len(palettes)
    return shares


def _seconds(scene: Scene, pool: PlanPool) -> float:
    """Length of a composed scene: its foreground with pauses, in whole chunks (paper, Algorithm 3)."""
    length = sum(event.gap + pool.get(event.clip_id).samples for event in scene.events if event.role is ClipRole.FOREGROUND)
    return due_chunk(max(length, 1)) * c.CHUNK_SECONDS


def _responses(scene: Scene) -> int:
    """What is said: pieces of a running text that are due in one chunk of their event are one response."""
    pieces = [(number, said) for number, event in enumerate(scene.events) for said in event.responses]
    joined = {(number, due_chunk(said.evidence)) for number, said in pieces if said.joins}
    return len(joined) + sum(not said.joins for _, said in pieces)


class _Reckoning:
    def __init__(self, recipe: Recipe, pool: PlanPool, rates: Rates, machines: Machines):
        self.recipe, self.pool, self.rates, self.machines = recipe, pool, rates, machines

    def bill(
        self, mark: str, weights: Mapping[str, float], seconds: Mapping[str, list[float]], responses: float, events: float
    ) -> Bill:
        recipe, rates, machines = self.recipe, self.rates, self.machines
        items = _shared(recipe.streams, weights)
        everything = [value for values in seconds.values() for value in values]
        mean = {task: statistics.fmean(seconds.get(task) or everything) for task in items}
        task_hours = {task: items[task] * mean[task] / 3600 for task in items}
        hours = sum(task_hours.values())
        error = math.sqrt(sum((items[task] / 3600) ** 2 * _variance(seconds.get(task, ())) for task in items))
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
        bill = Bill(
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
        return bill.model_copy(update={"over_budget": tuple(passed(recipe.budget, bill))})

    def _llm(self) -> dict[str, Usage]:
        usage: dict[str, Usage] = {}
        for role in self.recipe.llm_roles():
            rate = self.rates.llm.get(role)
            if rate is None or self.recipe.llm is None:
                continue
            calls = rate.calls * self.recipe.streams
            asked = Usage(
                calls=round(calls), input_tokens=round(calls * rate.input_tokens), output_tokens=round(calls * rate.output_tokens)
            )
            usage[role] = self.recipe.llm.priced(self.recipe.llm.answering(role).model, asked)
        return usage

    def _llm_hours(self, llm: Mapping[str, Usage]) -> float:
        """By its own pace at the concurrency of the recipe, or by the server's limits, whichever is slower."""
        if not llm or self.recipe.llm is None:
            return 0.0
        server = self.recipe.llm.server
        calls, tokens = sum(usage.calls for usage in llm.values()), sum(usage.tokens for usage in llm.values())
        paces = [calls * self.rates.seconds_per_call / server.concurrency / 3600]
        paces += [calls / server.requests_per_minute / 60] if server.requests_per_minute else []
        paces += [tokens / server.tokens_per_minute / 60] if server.tokens_per_minute else []
        return max(paces)

    def _generated(self, events: float) -> float:
        makes = self.recipe.curates and self.recipe.generation.backend not in ("none", "procedural")
        return events * self.recipe.streams * self.rates.generated_share if makes else 0.0

    def _spoken_share(self) -> float:
        """Of the index' seconds, those a model spoke."""
        total = spoken = 0
        for brief in self.pool.briefs():
            total += brief.samples
            if brief.kind == "speech" and (brief.voice or brief.source).lower().startswith(MADE_BY_TTS):
                spoken += brief.samples
        return spoken / max(total, 1)


def _shared(streams: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole expected counts that add up to `streams`: largest remainders."""
    total = sum(weights.values())
    exact = {name: streams * weight / total for name, weight in sorted(weights.items())}
    counts = {name: int(value) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in order[: streams - sum(counts.values())]:
        counts[name] += 1
    return counts


def _variance(values: list[float] | tuple[()]) -> float:
    """Of the mean of `values`."""
    return statistics.variance(values) / len(values) if len(values) > 1 else 0.0


def passed(budget: BuildBudget, bill: Bill) -> list[str]:
    """Limits the bill passes, in words."""
    takes = {
        "hours": bill.hours,
        "gigabytes": bill.gigabytes,
        "core_hours": bill.core_hours,
        "gpu_hours": sum(bill.gpu_hours.values()),
        "money": bill.money,
    }
    limits = {name: limit for name in takes if (limit := getattr(budget, name)) is not None}
    return [f"{name} {takes[name]:.4g} of {limit:g}" for name, limit in limits.items() if takes[name] > limit]
