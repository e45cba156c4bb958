"""Coherence of planned scenes: rule violations of the planners `template`, `random` (ablation V4 of the paper) and of a model.

`python -m soundflow.bench.experiments.coherence [--json OUT] [--runs N] [--events LOW HIGH] [--model NAME] [--scenes N] [--bag F
B A] [--json-mode M]`. Scenes are planned over a pool of labels without audio. With `--model` the model at $OPENAI_BASE_URL plans
too; its answers are cached, so a second run makes no call. Longer scenes break more rules, so violations are counted per 100
scenes and per 100 events. The tables of the scorer (`bench.experiments.sounds`) are independent of those of the planners. The
rules:

* setting conflict: a sound that does not occur in the setting in which most sounds of the scene occur;
* exclusive overlap: a sound that demands attention (speech, alarm, siren, crying …) in the background;
* role misuse: a sound with a beginning and an end (a bark, a knock) as constant ambience.
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
PLANNERS: Final = ("template", "random")
PLANNED: Final = 24
"""Scenes planned by a model."""
AMBIENT: Final = ClipRole.AMBIENT.value
FOREGROUND: Final = ClipRole.FOREGROUND.value
NOTHING: Final[Mapping[str, Any]] = {}
RoleAndClass = tuple[str, str]
"""Role and class of an event; the class is empty for sounds that `bench.experiments.sounds` does not contain."""


@dataclass(slots=True)
class ViolationCounts:
    """Rule violations in scenes of one planner."""

    scenes: int = 0
    events: int = 0
    broken: Counter[str] = field(default_factory=Counter)

    def add(self, events: Sequence[RoleAndClass]) -> None:
        """Add a scene."""
        self.scenes, self.events = self.scenes + 1, self.events + len(events)
        self.broken.update(violations(events))

    def table(self) -> dict[str, float]:
        """Return violations per 100 scenes by rule, and of all rules per 100 scenes and per 100 events."""
        if not self.scenes:
            return {}
        rules = {rule: round(100 * count / self.scenes, 1) for rule, count in self.broken.items()}
        total = self.broken.total()
        return rules | {"all": round(100 * total / self.scenes, 1), "all per 100 events": round(100 * total / self.events, 1)}


class LabelPool:
    """A clip pool of labels without audio: steady sounds are ambient, others foreground and background."""

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
        """Return all clips."""
        return [
            ClipBrief(clip.id, clip.role, clip.kind, clip.label, "", clip.source, clip.split, clip.samples)
            for _, clip in sorted(self._clips.items())
        ]

    def ids(self, role: ClipRole) -> Sequence[str]:
        """Return the ids of one role."""
        return [brief.id for brief in self.briefs() if brief.role is role]

    def get(self, clip_id: str) -> Clip:
        """Return a clip."""
        return self._clips[clip_id]

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Raise OSError: there is no audio."""
        raise OSError(f"{clip.id}: a label without audio")


def violations(events: Iterable[RoleAndClass]) -> Counter[str]:
    """Count the violations of a scene by rule."""
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
    """Return a recipe with all tasks that labels and transcripts suffice for."""
    tasks = {task.value: 1.0 for task in sorted(available_tasks(palette))}
    document = {"clips": "", "streams": scenes, "shards": 1, "tasks": tasks, "scene": {"planner": planner, **scene}}
    return Recipe.model_validate(document | ({"llm": llm} if llm else {}))


def score(planner: str, pool: LabelPool, scenes: int, scene: Mapping[str, Any] = NOTHING) -> ViolationCounts:
    """Count violations in `scenes` scenes of a built-in planner."""
    palette = Palette.of(pool)
    recipe = recipe_of(planner, palette, scenes, scene)
    total = ViolationCounts()
    for index in range(scenes):
        outcome = plan_scene(recipe, palette, pool, rng_for("c" * 64, 0, index, "scene"))
        assert isinstance(outcome, Ok)
        total.add([(event.role.value, pool.get(event.clip_id).label) for event in outcome.value.events])
    return total


def classify_events(scenario: Scenario, bag: Sequence[dict[str, Any]]) -> list[RoleAndClass]:
    """Return role and class of the events of a model's scenario; sounds that are speech in the bag have the class speech."""
    speech = {str(one["sound"]) for one in bag if one.get("kind") == "speech"}
    return [(event.role, "speech" if event.sound in speech else known(event.sound)) for event in scenario.events]


async def score_model(
    config: LlmConfig, pool: LabelPool, scenes: int, answers: AnswerCache, scene: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    """Count the violations of a model that plans with the prompt of a build, and its rejected scenes by reason."""
    palette = Palette.of(pool)
    recipe = recipe_of("llm", palette, scenes, scene, model=config.model)
    total, events, refused = ViolationCounts(), list[RoleAndClass](), Counter[str]()
    async with open_chat(config, answers) as chat:
        for index in range(scenes):
            rng = rng_for("c" * 64, 0, index, "scene")
            policy = POLICIES[draw_task(recipe, palette, rng)]
            bag, _ = draw_bag(recipe.scene, policy, palette, pool, rng)
            outcome = await plan_scenario(chat, recipe.scene, policy, bag, int(rng.integers(2**31)))
            if not isinstance(outcome, Ok):
                refused[getattr(outcome, "reason", "failed")] += 1
                continue
            found = classify_events(outcome.value.value, bag)
            events += found
            total.add(found)
    known_events = f"{sum(bool(label) for _, label in events)}/{len(events)}"
    violation_table = {"violations per 100 scenes": total.table(), "events with a known class": known_events}
    return {"requested": scenes, "scenes": total.scenes, "refused": dict(refused)} | violation_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    parser = bench.make_parser("experiments.coherence", runs=3)
    add = parser.add_argument
    add("--model", default="", metavar="NAME", help="Also evaluate this model at $OPENAI_BASE_URL (default: none).")
    add("--max-tokens", type=int, default=2048, metavar="N", help="Maximum tokens per answer of the model (default 2048).")
    add("--scenes", type=int, default=PLANNED, metavar="N", help=f"Number of scenes of the model (default {PLANNED}).")
    add("--json-mode", default="json_schema", metavar="MODE", help="JSON mode of the model (default json_schema).")
    events_help = "Range of events per scene, for all planners (default: that of recipes)."
    add("--events", type=int, nargs=2, metavar=("LOW", "HIGH"), help=events_help)
    bag_help = "Foreground, background and ambient annotations in the bag of the model (default: those of recipes)."
    add("--bag", type=int, nargs=3, metavar=("F", "B", "A"), help=bag_help)
    args = parser.parse_args(argv)
    pools = {name: LabelPool(sounds) for name, sounds in SETS.items()}
    scene = {name: value for name in ("events", "bag") if (value := getattr(args, name))}
    scores = {name: {planner: score(planner, pool, SCENES, scene) for planner in PLANNERS} for name, pool in pools.items()}
    timing = bench.compare(
        "coherence", {planner: partial(score, planner, pools[PUBLIC], SCENES, scene) for planner in PLANNERS}, args.runs
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
            "template / random, words that are new to the planner": round(shares[HELD_OUT], 2),
            "scenes": SCENES,
            f"llm {args.model}".strip(): _model(args, pools[PUBLIC], scene),
        },
    )


def _model(args: argparse.Namespace, pool: LabelPool, scene: Mapping[str, Any]) -> Any:
    """Evaluate a model; return its figures, or the reason why there are none."""
    if not args.model:
        return "not run: add --model NAME and set $OPENAI_BASE_URL"
    server = {"concurrency": 1, "timeout_seconds": 600, "retries": 1}
    config = {
        "model": args.model,
        "max_tokens": args.max_tokens,
        "json_mode": args.json_mode,
        "send_seed": True,
        "server": server,
    }
    try:
        return asyncio.run(score_model(LlmConfig.model_validate(config), pool, args.scenes, AnswerCache(), scene))
    except InputError as error:
        return f"not run: {error}"


if __name__ == "__main__":
    raise SystemExit(main())
