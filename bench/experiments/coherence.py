"""Do planned scenes hang together? Rule violations per 100 scenes of `template`, `random` (the paper's ablation V4), a model.

`python -m soundflow.bench.experiments.coherence [--json OUT] [--runs N] [--events LOW HIGH] [--model NAME] [--scenes N] [--bag F
B A] [--json-mode M]`. Scenes are planned over a pool of labels (no audio). With `--model` that model plans too, asked at
$OPENAI_BASE_URL; answers are kept, so a second run asks nothing. Longer scenes break more rules: planners stand in one table per
100 scenes and per 100 events. The scorer's knowledge (`bench.experiments.sounds`) is its own, not the planners'. Rules, the same
for every planner:

* setting conflict: a sound that cannot be heard where most sounds of the scene can;
* exclusive overlap: a sound that takes the listener over (speech, alarm, siren, crying …) behind other sounds;
* role misuse: a sound with a beginning and an end (a bark, a knock) as the constant ambience.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.bench.experiments.sounds import HELD_OUT, PUBLIC, SETS, SETTINGS, SOUNDS, SoundClass, known
from soundflow.bench.harness import measure as bench
from soundflow.operators.compose.clips import ClipBrief, Palette
from soundflow.operators.curate.bag import draw_bag
from soundflow.operators.curate.curation import plan_scenario
from soundflow.operators.curate.planning import available_tasks, draw_task, plan_scene
from soundflow.operators.tasks import POLICIES
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat import open_chat
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.identity import rng_for
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.scenario import Scenario

SCENES: Final = 600
OURS: Final = ("template", "random")
PLANNED: Final = 24
"""Scenes asked of a model."""
AMBIENT: Final = ClipRole.AMBIENT.value
FOREGROUND: Final = ClipRole.FOREGROUND.value
NOTHING: Final[Mapping[str, Any]] = {}
Heard = tuple[str, str]
"""Role and class of one event; the class is empty for sounds `bench.experiments.sounds` does not know."""


@dataclass(slots=True)
class ViolationCounts:
    """What scenes of one planner broke."""

    scenes: int = 0
    events: int = 0
    broken: Counter[str] = field(default_factory=Counter)

    def add(self, events: Sequence[Heard]) -> None:
        """One more scene."""
        self.scenes, self.events = self.scenes + 1, self.events + len(events)
        self.broken.update(violations(events))

    def table(self) -> dict[str, float]:
        """By rule per 100 scenes; all rules per 100 scenes and per 100 events."""
        if not self.scenes:
            return {}
        rules = {rule: round(100 * count / self.scenes, 1) for rule, count in self.broken.items()}
        total = self.broken.total()
        return rules | {"all": round(100 * total / self.scenes, 1), "all per 100 events": round(100 * total / self.events, 1)}


class LabelPool:
    """Clips that are only labels, filed as collections file them: anything but ambiences in the foreground and background."""

    def __init__(self, sounds: Mapping[str, SoundClass]) -> None:
        self._clips: dict[str, Clip] = {}
        for number, (label, sound) in enumerate(sounds.items()):
            roles = [ClipRole.AMBIENT] if sound.steady else []
            roles += [] if "ambience" in label or label == "speech" else [ClipRole.FOREGROUND, ClipRole.BACKGROUND]
            for role in roles:
                for copy in range(3):
                    self._add(f"{role.value}/{number}/{copy}", label, role, None)
        for number in range(40):
            self._add(f"speech/{number}", "speech", ClipRole.FOREGROUND, f"sentence number {number}")

    def _add(self, clip_id: str, label: str, role: ClipRole, transcript: str | None) -> None:
        mark = "0" * 64
        self._clips[clip_id] = Clip(
            id=clip_id,
            path="",
            content_sha256=mark,
            clean_sha256=mark,
            cache_key=mark,
            role=role,
            label=label,
            transcript=transcript,
            samples=32_000,
            active_end=32_000,
            active_level_db=-26.0,
            peak=0.5,
            clipped_ratio=0.0,
        )

    def briefs(self) -> Sequence[ClipBrief]:
        """All clips."""
        return [
            ClipBrief(clip.id, clip.role, clip.kind, clip.label, "", clip.source, clip.split, clip.samples)
            for _, clip in sorted(self._clips.items())
        ]

    def ids(self, role: ClipRole) -> Sequence[str]:
        """Ids of one role."""
        return [brief.id for brief in self.briefs() if brief.role is role]

    def get(self, clip_id: str) -> Clip:
        """The row."""
        return self._clips[clip_id]

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """There is none."""
        raise OSError("labels only")


def violations(events: Iterable[Heard]) -> Counter[str]:
    """Broken rules of one scene, by rule."""
    sounds = [(role, SOUNDS[label]) for role, label in events if label]
    fitting = {setting: sum(setting in sound.settings for _, sound in sounds) for setting in SETTINGS}
    setting = max(sorted(fitting), key=lambda name: fitting[name])
    return Counter(
        {
            "setting conflict": sum(setting not in sound.settings for _, sound in sounds),
            "exclusive overlap": sum(sound.exclusive and role != FOREGROUND for role, sound in sounds),
            "role misuse": sum(role == AMBIENT and not sound.steady for role, sound in sounds),
        }
    )


def recipe_of(planner: str, palette: Palette, scenes: int, scene: Mapping[str, Any] = NOTHING, **llm: Any) -> Recipe:
    """Every task that labels and sentences can serve, over a pool of them."""
    tasks = {task.value: 1.0 for task in sorted(available_tasks(palette))}
    document = {"clips": "", "streams": scenes, "shards": 1, "tasks": tasks, "scene": {"planner": planner, **scene}}
    return Recipe.model_validate(document | ({"llm": llm} if llm else {}))


def score(planner: str, pool: LabelPool, scenes: int, scene: Mapping[str, Any] = NOTHING) -> ViolationCounts:
    """Broken rules in so many scenes of a planner of ours."""
    palette = Palette.of(pool)
    recipe = recipe_of(planner, palette, scenes, scene)
    total = ViolationCounts()
    for index in range(scenes):
        outcome = plan_scene(recipe, palette, pool, rng_for("c" * 64, 0, index, "scene"))
        assert isinstance(outcome, Ok)
        total.add([(event.role.value, pool.get(event.clip_id).label) for event in outcome.value.events])
    return total


def heard(scenario: Scenario, bag: Sequence[dict[str, Any]]) -> list[Heard]:
    """The events of a model's scenario; what it has from the speech in its bag is speech."""
    said = {str(one["sound"]) for one in bag if one.get("kind") == "speech"}
    return [(event.role, "speech" if event.sound in said else known(event.sound)) for event in scenario.events]


async def score_model(
    config: LlmConfig, pool: LabelPool, scenes: int, answers: AnswerCache, scene: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    """Broken rules of a model that plans with the build's own prompt, and what came of the questions."""
    palette = Palette.of(pool)
    recipe = recipe_of("llm", palette, scenes, scene, model=config.model)
    total, events, refused = ViolationCounts(), list[Heard](), Counter[str]()
    async with open_chat(config, answers) as chat:
        for index in range(scenes):
            rng = rng_for("c" * 64, 0, index, "scene")
            policy = POLICIES[draw_task(recipe, palette, rng)]
            bag, _ = draw_bag(recipe.scene, policy, palette, pool, rng)
            outcome = await plan_scenario(chat, recipe.scene, policy, bag, int(rng.integers(2**31)))
            if not isinstance(outcome, Ok):
                refused[getattr(outcome, "reason", "failed")] += 1
                continue
            found = heard(outcome.value.value, bag)
            events += found
            total.add(found)
    named = f"{sum(bool(label) for _, label in events)}/{len(events)}"
    told = {"violations per 100 scenes": total.table(), "sounds the scorer knows": named}
    return {"asked for": scenes, "scenes": total.scenes, "refused": dict(refused)} | told


def main(argv: Sequence[str] | None = None) -> int:
    """ViolationCounts the planners; returns the exit code."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--model", default="")
    own.add_argument("--max-tokens", type=int, default=2048)
    own.add_argument("--scenes", type=int, default=PLANNED)
    own.add_argument("--json-mode", default="json_schema")
    own.add_argument("--events", type=int, nargs=2, help="of a scene, all planners; default: the recipe's")
    own.add_argument("--bag", type=int, nargs=3, help="annotations a model is shown; default: the recipe's")
    asked, rest = own.parse_known_args(argv)
    args = bench.parse_arguments("experiments.coherence", rest, runs=3)
    pools = {name: LabelPool(sounds) for name, sounds in SETS.items()}
    scene = {name: value for name in ("events", "bag") if (value := getattr(asked, name))}
    scores = {name: {planner: score(planner, pool, SCENES, scene) for planner in OURS} for name, pool in pools.items()}
    timing = bench.compare(
        "coherence", {planner: partial(score, planner, pools[PUBLIC], SCENES, scene) for planner in OURS}, args.runs
    )
    shares = {name: found["template"].broken.total() / found["random"].broken.total() for name, found in scores.items()}
    return bench.finish(
        "coherence",
        [bench.Ratio("violations, template / random", shares[PUBLIC], at_most=0.2)],
        timing["medians"],
        versions=["numpy"],
        json_path=args.json,
        notes={
            "violations per 100 scenes": {planner: total.table() for planner, total in scores[PUBLIC].items()},
            "template / random, words the planner's tables were not made for": round(shares[HELD_OUT], 2),
            "scenes": SCENES,
            f"llm {asked.model}".strip(): _model(asked, pools[PUBLIC], scene),
        },
    )


def _model(asked: argparse.Namespace, pool: LabelPool, scene: Mapping[str, Any]) -> Any:
    """What a model's plans are like, or why that is not known."""
    if not asked.model:
        return "not run: give --model NAME and $OPENAI_BASE_URL"
    server = {"concurrency": 1, "timeout_seconds": 600, "retries": 1}
    config = {
        "model": asked.model,
        "max_tokens": asked.max_tokens,
        "json_mode": asked.json_mode,
        "send_seed": True,
        "server": server,
    }
    try:
        return asyncio.run(score_model(LlmConfig.model_validate(config), pool, asked.scenes, AnswerCache(), scene))
    except InputError as error:
        return f"not run: {error}"


if __name__ == "__main__":
    raise SystemExit(main())
