"""Scene planning without a language model: the planners `random` and `template`.

Both choose the clips and their order; the policy of the sub-task (`operators.tasks`) determines the responses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidate, Candidates, ClipPool, Palette
from soundflow.operators.compose.mixing import scene_chunks
from soundflow.operators.tasks import POLICIES, Policy
from soundflow.operators.tasks.policy import ResponseOption
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.scene import Draw, Scene, SceneEvent
from soundflow.schemas.taxonomy import SUB_TASKS, Capability, Task

PLANNING_VERSION: Final = "13"
FITTING_SHARE: Final = 0.95
"""Probability that the template planner takes a sound that fits the place rather than one of unknown places."""


def available_tasks(palette: Palette, at_least: int = 1) -> set[Task]:
    """Return the sub-tasks for which each required kind has at least `at_least` clips."""
    return {task for task in Task if all(len(clips) >= at_least for clips in POLICIES[task].required_clips(palette).values())}


def can_serve(task: Task, palette: Palette, fewest: int) -> bool:
    """Return whether there are enough clips for a scene of `fewest` events of a sub-task."""
    lists = POLICIES[task].required_clips(palette).values()
    return all(lists) and sum(map(len, lists)) >= fewest


def weights_of(recipe: Recipe, palette: Palette) -> dict[Task, float]:
    """Return the sub-tasks of a recipe with positive weights. Those that the clips can serve share the weight of a capability."""
    weights: dict[Task, float] = {}
    for name, weight in recipe.tasks.items():
        tasks: list[Task] = [name] if isinstance(name, Task) else []
        if isinstance(name, Capability):
            tasks = [task for task in SUB_TASKS[name] if can_serve(task, palette, int(recipe.scene.events[0]))]
        for task in tasks:
            weights[task] = weights.get(task, 0.0) + weight / len(tasks)
    return {task: weight for task, weight in sorted(weights.items()) if weight > 0}


def check_tasks(recipe: Recipe, palette: Palette, file: object = None, split: str = "") -> None:
    """Raise InputError if there are too few clips for the shortest scene of a task. `split`: the split of the palette."""
    holds = f"the {split} split of the index" if split else "the index"
    holds += " (only clips of the recipe's `licences`)" if recipe.licences else ""
    fewest = int(recipe.scene.events[0])
    served = weights_of(recipe, palette)
    for name, weight in recipe.tasks.items():
        if weight > 0 and isinstance(name, Capability) and not set(SUB_TASKS[name]) & set(served):
            needed = " or ".join(sorted({what for task in SUB_TASKS[name] for what in POLICIES[task].required_clips(palette)}))
            raise InputError(
                f"{holds} has no clips for its sub-tasks, which require {needed}",
                file=file,
                field=f"tasks.{name.value}",
                remedy=f"Index such clips, reduce scene.events, or remove {name.value} from tasks",
            )
    for task in served:
        for what, clips in POLICIES[task].required_clips(palette).items():
            if not can_serve(task, palette, fewest) and (not clips or all(POLICIES[task].required_clips(palette).values())):
                long = len(palette.too_long)
                besides = f" (not counting {long} foreground clips that are longer than scene.max_seconds allows)" if long else ""
                needs = f"a stream needs {max(fewest, 1)} different clips"
                raise InputError(
                    f"too few clips: {holds} has {len(clips)} {what}{besides}, but {needs}",
                    file=file,
                    field=f"tasks.{task.value}",
                    remedy=f"Index more clips, reduce scene.events, or remove {task.value} from tasks",
                )


def draw_task(recipe: Recipe, palette: Palette, rng: np.random.Generator) -> Task:
    """Draw the sub-task of a stream by the weights of the recipe."""
    tasks = weights_of(recipe, palette)
    weights = np.array(list(tasks.values()), dtype=np.float64)
    return list(tasks)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def plan_scene(
    recipe: Recipe, palette: Palette, pool: ClipPool, rng: np.random.Generator, policy: Policy | None = None
) -> Outcome[Scene]:
    """Plan one stream: its clips in order, its instruction and its responses.

    `policy` defaults to that of a sub-task drawn by the recipe's weights. Returns Rejected(`too_few_clips`) when no clip could be
    chosen and Rejected(`no_stream_of_the_task`) when the chosen clips make no stream of the sub-task. Deterministic in its
    arguments.
    """
    return _StreamPlanner(recipe, palette, pool, rng).plan(policy or POLICIES[draw_task(recipe, palette, rng)])


class _StreamPlanner:
    """Plans one stream; the `ClipSelection` of its policy."""

    def __init__(self, recipe: Recipe, palette: Palette, pool: ClipPool, rng: np.random.Generator):
        self.recipe, self.scene, self.palette, self.pool, self.rng = recipe, recipe.scene, palette, pool, rng
        self.draws: list[Draw] = []
        self.used: set[str] = set()
        self.place = ""
        self.groups: dict[str, str] = {}
        self.dialogue: Candidates | None = None
        self.numbers: dict[str, int] = {}
        self.room: int | None = None
        """Samples of the longest clip that still fits the foreground; None for clips that are cropped to the stream."""
        self.is_full = False
        """Whether a clip has been left out because it does not fit."""

    def plan(self, policy: Policy) -> Outcome[Scene]:
        task = policy.task
        turns = self._between("foreground events", self.scene.events)
        title = self._choose_place(policy, turns)
        foreground = self._foreground(policy, turns)
        if not foreground:
            return Rejected("too_long" if self.is_full else "too_few_clips", {"task": task.value})
        brief = policy.draw_brief(foreground, self.palette, self.rng)
        if brief is None:
            return Rejected("no_stream_of_the_task", {"task": task.value})
        options = policy.respond_to_stream(brief, foreground)
        events = [self._foreground_event(policy, clip, of_clip) for clip, of_clip in zip(foreground, options, strict=True)]
        for role, clips, count in (
            (ClipRole.BACKGROUND, policy.background_clips(self.palette), self.scene.background),
            (ClipRole.AMBIENT, self.palette.ambient, self.scene.ambient),
        ):
            for _ in range(self._between(f"{role.value} events", count)):
                chosen = self.pick([clip for clip in clips if policy.can_play_in_background(brief, clip.name)], strict=True)
                if chosen is not None:
                    events.append(SceneEvent(clip_id=chosen, role=role))
        seconds = scene_chunks(events[: len(foreground)], foreground) * c.CHUNK_SECONDS
        if seconds > self.scene.max_chunks * c.CHUNK_SECONDS:
            return Rejected("too_long", {"task": task.value, "seconds": seconds})
        instructions = policy.instructions(brief)
        instruction = instructions[self._integer("instruction variant", len(instructions))]
        draws = (Draw(what="task", value=task.value), *self.draws)
        # Scenes with a fixed order are planned here even if a language model plans the others.
        planner = "template" if self.scene.planner == "llm" else self.scene.planner
        return Ok(
            Scene(
                task=task,
                planner=planner,
                title=title,
                instruction=instruction,
                brief=brief,
                events=tuple(events),
                draws=draws,
            )
        )

    def _choose_place(self, policy: Policy, turns: int) -> str:
        """Draw the place of the template planner and return its title.

        The place has sounds that occur only there and enough clips for the scene; if there is none, it is one with the most
        clips.
        """
        if self.scene.planner == "random":
            return "clips drawn independently"
        needed, places = policy.place_bound_clips(self.palette), prompts.places()
        counts = {name: min(sum(name in clip.places for clip in clips) for clips in needed) for name in sorted(places)}
        own = {name for clips in needed for clip in clips if len(clip.places) < len(places) for name in clip.places}
        enough = [name for name, count in counts.items() if name in own and count >= -(-turns // len(needed))]
        names = enough or [name for name, count in counts.items() if count == max(counts.values())]
        self.place = names[self._integer("place", len(names))]
        return places[self.place].title

    def _foreground(self, policy: Policy, turns: int) -> list[Clip]:
        chosen: list[str] = []
        self.room = self.scene.longest_clip
        for turn in range(turns):
            clip_id = policy.choose_foreground(self, turn, optional=len(chosen) >= self.scene.events[0])
            if clip_id is None:
                if self.is_full:
                    self.record("left out, stream long enough after event", turn)
                break
            chosen.append(clip_id)
        chosen = policy.finish_foreground(self, chosen) if chosen else []
        self.room = None
        return [self.pool.get(clip_id) for clip_id in chosen]

    def _fits(self, clip: Candidate) -> bool:
        """Return whether a clip fits the rest of the stream; of it, one chunk is kept for a response that has to wait."""
        spare = c.CHUNK_SAMPLES if self.used else 0
        return self.room is None or clip.samples + spare <= self.room

    def _use(self, clip: Candidate) -> str:
        self.used.add(clip.id)
        if self.room is not None:
            self.room -= clip.samples + round(self.scene.gap_seconds[1] * c.SAMPLE_RATE)
        return clip.id

    def _foreground_event(self, policy: Policy, clip: Clip, options: Sequence[ResponseOption]) -> SceneEvent:
        responses = policy.draw_responses(clip, options, self.scene, self.rng)
        low, high = (round(seconds * c.SAMPLE_RATE) for seconds in self.scene.gap_seconds)
        gap = int(self.rng.integers(low, high + 1))
        return SceneEvent(clip_id=clip.id, role=ClipRole.FOREGROUND, responses=responses, gap=gap)

    def pick(self, clips: Candidates, strict: bool = False) -> str | None:
        """Draw an unused clip and return its id: mostly one that fits the place, occasionally one of unknown places.

        None if all are used or too long, or with `strict` if only clips of other places remain.
        """
        unused = [clip for clip in clips if clip.id not in self.used]
        free = [clip for clip in unused if self._fits(clip)]
        self.is_full |= bool(unused) and not free
        if self.place:
            fitting = [clip for clip in free if self.place in clip.places]
            unknown = [clip for clip in free if not clip.places]
            both = fitting and unknown
            preferred = (fitting if self.rng.random() < FITTING_SHARE else unknown) if both else fitting or unknown
            free = preferred if preferred or strict else free
        if not free:
            return None
        if self.recipe.balance == "label":
            names = sorted({clip.name for clip in free})
            drawn = names[int(self.rng.integers(len(names)))]
            free = [clip for clip in free if clip.name == drawn]
        return self._use(free[int(self.rng.integers(len(free)))])

    def draw_group(self, name: str, clips: Candidates, key: Callable[[Candidate], str]) -> Candidates:
        """Return the clips of one group, which the first call draws: a group that fits the place, if any does."""
        if name not in self.groups:
            fitting = [clip for clip in clips if self.place in clip.places]
            values = sorted({key(clip) for clip in fitting or clips})
            if not values:
                return []
            self.groups[name] = values[self._integer(f"{name} drawn", len(values))]
            self.record(name, self.groups[name])
        return [clip for clip in clips if key(clip) == self.groups[name]]

    def draw_once(self, name: str, below: int) -> int:
        """Return the number of this name, which the first call draws."""
        if name not in self.numbers:
            self.numbers[name] = self._integer(name, below)
        return self.numbers[name]

    def draw_dialogue(self, clips: Candidates, more: bool) -> Candidates:
        """Return the turns of the stream's dialogue, which the first call draws with a probability proportional to its length."""
        spent = bool(self.dialogue) and all(clip.id in self.used for clip in self.dialogue or ())
        if spent and more and self.dialogue:
            speaker = self.dialogue[0].speaker
            clips = [clip for clip in clips if clip.dialogue and clip.speaker == speaker and clip.id not in self.used]
        elif self.dialogue is not None:
            return self.dialogue
        if clips:
            drawn = clips[self._integer("dialogue of clip", len(clips))]
            self.dialogue = self.palette.turns.get(drawn.dialogue, [])
            if self.dialogue:
                self.record("dialogue", drawn.dialogue)
        return self.dialogue or []

    def pick_next(self, clips: Candidates) -> str | None:
        """Return the id of the first unused clip; None if there is none or it is too long."""
        first = next((clip for clip in clips if clip.id not in self.used), None)
        if first is None or not self._fits(first):
            self.is_full |= first is not None
            return None
        return self._use(first)

    def record(self, name: str, value: str | float | bool) -> None:
        """Store a decision in the plan."""
        self.draws.append(Draw(what=name, value=value))

    def _between(self, what: str, bounds: tuple[float, float]) -> int:
        value = int(self.rng.integers(int(bounds[0]), int(bounds[1]) + 1))
        self.record(what, value)
        return value

    def _integer(self, what: str, below: int) -> int:
        value = int(self.rng.integers(below))
        self.record(what, value)
        return value
