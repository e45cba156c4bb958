"""Hierarchical event curation (paper, section 3.2 and B.1): a bag of annotations → scenario → refinement → grounded scene.

A language model plans the scenario and words the responses. Code decides which clips exist, when the sub-task responds, and
whether a clip or a wording is acceptable. The result with all reasons is a `Curation`, the content of sheets and reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from soundflow.operators.compose.clips import Palette
from soundflow.operators.compose.mixing import scene_chunks
from soundflow.operators.curate.bag import Bag, contradiction, draw_bag, narrow_refinement, narrow_scenario, with_recordings
from soundflow.operators.curate.grounding import GroundingTools, ground
from soundflow.operators.curate.planning import draw_task, plan_scene
from soundflow.operators.protocols.asking import Answer, ask
from soundflow.operators.protocols.chat import ChatModel
from soundflow.operators.tasks import POLICIES, Policy, wording
from soundflow.operators.tasks.policy import ResponseOption
from soundflow.operators.tasks.supervision import MODEL_PREFIX
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.llm import Usage
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.recipe import Recipe, SceneConfig
from soundflow.schemas.scenario import Refinement, Scenario
from soundflow.schemas.scene import Draw, Scene, SceneEvent, SceneResponse
from soundflow.schemas.sheet import Curation, GroundedEvent
from soundflow.schemas.taxonomy import Task

CURATION_VERSION: Final = "5"


async def curate(
    recipe: Recipe, palette: Palette, chat: ChatModel, tools: GroundingTools, rng: np.random.Generator
) -> Outcome[Curation]:
    """Make one attempt to curate a scene. Ok(Curation): accepted or rejected. Failed: model, verifier or generator failed.

    Deterministic in its arguments and in the results of the services. Raises BudgetSpent and InputError, which end the run.
    """
    task = draw_task(recipe, palette, rng)
    if POLICIES[task].has_fixed_order:
        return _in_order(recipe, task, palette, tools, rng)
    return await _SceneCurator(recipe, POLICIES[task], palette, chat, tools, rng).curate()


def _in_order(recipe: Recipe, task: Task, palette: Palette, tools: GroundingTools, rng: np.random.Generator) -> Outcome[Curation]:
    """Plan a scene whose clips have a fixed order, such as a dialogue, without the model; its planner is `template`."""
    planned = plan_scene(recipe, palette, tools.pool, rng, POLICIES[task])
    if isinstance(planned, Failed):
        return planned
    if isinstance(planned, Rejected):
        return Ok(Curation(task=task, planner="template", refused=planned.reason))
    return Ok(Curation(task=task, planner=planned.value.planner, title=planned.value.title, scene=planned.value))


class _SceneCurator:
    """One attempt; `curation` is its state so far."""

    def __init__(
        self,
        recipe: Recipe,
        policy: Policy,
        palette: Palette,
        chat: ChatModel,
        tools: GroundingTools,
        rng: np.random.Generator,
    ):
        self.recipe, self.scene, self.policy, self.palette = recipe, recipe.scene, policy, palette
        self.chat, self.tools, self.rng = chat, tools, rng
        model = chat.config.answering("scenario_planner").model
        self.curation = Curation(task=policy.task, planner=MODEL_PREFIX + model)

    async def curate(self) -> Outcome[Curation]:
        by_label = self.recipe.balance == "label"
        bag, voice = draw_bag(self.scene, self.policy, self.palette, self.tools.pool, self.rng, by_label=by_label)
        scenario = await self._plan(bag)
        if not isinstance(scenario, Ok):
            return self._rejected(scenario)
        refinement = await self._refine(scenario.value, bag)
        if not isinstance(refinement, Ok):
            return self._rejected(refinement)
        grounded = await ground(scenario.value.events, refinement.value.events, self.policy, self.tools, voice, self.rng)
        if not isinstance(grounded, Ok):
            return self._rejected(grounded)
        events = tuple(grounded.value.events)
        if grounded.value.refused:
            rejection = {"events": events, "refused": grounded.value.refused, "detail": grounded.value.detail}
            return Ok(self.curation.model_copy(update=rejection))
        return Ok(self._compose_scene(events))

    async def _plan(self, bag: Bag) -> Outcome[Scenario]:
        answer = await plan_scenario(self.chat, self.scene, self.policy, bag, int(self.rng.integers(2**31)))
        self._add_usage("scenario_planner", answer)
        if not isinstance(answer, Ok):
            return answer
        scenario = answer.value.value
        planned = {"title": scenario.title, "setting": scenario.setting, "narrative": scenario.narrative}
        self.curation = self.curation.model_copy(update={"planner": MODEL_PREFIX + answer.value.model, **planned})
        return Ok(scenario)

    async def _refine(self, scenario: Scenario, bag: Bag) -> Outcome[Refinement]:
        worded = bool(self.policy.response_rule)
        answer = await ask(
            self.chat,
            "event_refiner",
            {
                "scenario": with_recordings(scenario, bag),
                "task": self.policy.task.value,
                "response_rule": self.policy.response_rule,
            },
            Refinement,
            seed=int(self.rng.integers(2**31)),
            check=lambda refinement: refinement.mismatch(scenario, worded),
            counts={"events": (len(scenario.events), len(scenario.events))},
            narrow=lambda schema: narrow_refinement(schema, scenario, bag, worded),
        )
        self._add_usage("event_refiner", answer)
        self.writer = MODEL_PREFIX + answer.value.model if isinstance(answer, Ok) else ""
        return Ok(answer.value.value) if isinstance(answer, Ok) else answer

    def _add_usage(self, role: str, answer: Outcome[Answer[Any]]) -> None:
        """Record usage and calls of a request, also of a rejected one."""
        if isinstance(answer, Failed):
            return
        usage = answer.value.usage if isinstance(answer, Ok) else Usage.model_validate(answer.metrics["usage"])
        calls = answer.value.calls if isinstance(answer, Ok) else tuple(answer.metrics["calls"])
        update = {"usage": self.curation.usage | {role: usage}, "calls": (*self.curation.calls, *calls)}
        self.curation = self.curation.model_copy(update=update)

    def _rejected(self, outcome: Rejected | Failed) -> Outcome[Curation]:
        if isinstance(outcome, Failed):
            payload = outcome.payload | {"curation": self.curation.model_dump(mode="json")}
            return replace(outcome, payload=payload)
        rejection = {"refused": outcome.reason, "detail": str(outcome.metrics.get("detail", ""))}
        return Ok(self.curation.model_copy(update=rejection))

    def _compose_scene(self, events: tuple[GroundedEvent, ...]) -> Curation:
        """Return the curation with the scene of the grounded events.

        Events that would exceed the maximum length, or that would call for a response in the background, are left out.
        """
        events, clips = self._limit_length(events)
        foreground = [
            clip for event, clip in zip(events, clips, strict=True) if clip is not None and event.planned.role == "foreground"
        ]
        brief = self.policy.draw_brief(foreground, self.palette, self.rng)
        if brief is None:
            return self.curation.model_copy(update={"events": events, "refused": "no_stream_of_the_task"})
        options = iter(self.policy.respond_to_stream(brief, foreground))
        low, high = (round(seconds * c.SAMPLE_RATE) for seconds in self.scene.gap_seconds)
        recorded: list[GroundedEvent] = []
        scene_events: list[SceneEvent] = []
        for event, clip in zip(events, clips, strict=True):
            if clip is None:
                recorded.append(event)
            elif event.planned.role == "foreground":
                responses, event = self._respond(event, clip, next(options))
                gap = int(self.rng.integers(low, high + 1))
                scene_events.append(SceneEvent(clip_id=clip.id, role=ClipRole.FOREGROUND, responses=responses, gap=gap))
                recorded.append(event)
            elif self.policy.can_play_in_background(brief, clip.label):
                scene_events.append(SceneEvent(clip_id=clip.id, role=_role(event)))
                recorded.append(event)
            else:
                recorded.append(event.model_copy(update={"clip_id": None, "left_out": "would_be_answered"}))
        played = [self.tools.pool.get(event.clip_id) for event in scene_events]
        if scene_chunks(scene_events, played) > self.scene.max_chunks:
            return self.curation.model_copy(update={"events": tuple(recorded), "refused": "too_long"})
        instructions = self.policy.instructions(brief)
        number = int(self.rng.integers(len(instructions)))
        scene = Scene(
            task=self.policy.task,
            planner=self.curation.planner,
            title=self.curation.title,
            instruction=instructions[number],
            brief=brief,
            events=tuple(scene_events),
            draws=(Draw(what="task", value=self.policy.task.value), Draw(what="instruction variant", value=number)),
        )
        return self.curation.model_copy(update={"events": tuple(recorded), "scene": scene})

    def _limit_length(self, events: tuple[GroundedEvent, ...]) -> tuple[tuple[GroundedEvent, ...], list[Clip | None]]:
        """Return the events with their clips, where foreground events beyond the maximum length have none."""
        limited: list[GroundedEvent] = []
        clips: list[Clip | None] = []
        length = 0
        for event in events:
            clip = None if event.clip_id is None else self.tools.pool.get(event.clip_id)
            if clip is not None and event.planned.role == "foreground":
                total = length + round(self.scene.gap_seconds[1] * c.SAMPLE_RATE) + clip.samples
                if length and total > self.scene.max_chunks * c.CHUNK_SAMPLES:
                    clip, event = None, event.model_copy(update={"clip_id": None, "left_out": "stream_long_enough"})
                else:
                    length = total
            limited.append(event)
            clips.append(clip)
        return tuple(limited), clips

    def _respond(
        self, event: GroundedEvent, clip: Clip, options: Sequence[ResponseOption]
    ) -> tuple[tuple[SceneResponse, ...], GroundedEvent]:
        """Return the responses of a foreground event: the wording of the model if it is acceptable, else that of the sub-task."""
        text = event.refined.response
        if not options:
            return (), event
        if text and self.policy.is_acceptable_wording(clip, text):
            return self.policy.schedule(clip, options[0]._replace(text=text, source=self.writer), self.scene), event
        problem = wording.find_problem(text or "", clip.label, clip.caption) if self.policy.response_rule else ""
        return self.policy.draw_responses(clip, options, self.scene, self.rng), event.model_copy(update={"wording": problem})


async def plan_scenario(chat: ChatModel, scene: SceneConfig, policy: Policy, bag: Bag, seed: int) -> Outcome[Answer[Scenario]]:
    """Request a scenario of sounds in `bag` with the number of events of a scene; see `operators.protocols.asking.ask`."""
    low, high = c.EVENTS_RANGE
    fewest = min(max(int(scene.events[0]), low), high)
    most = min(max(int(scene.events[1]), fewest), high)
    values = {"fewest": fewest, "most": most, "task": policy.task.value, "task_rule": policy.task_rule}
    return await ask(
        chat,
        "scenario_planner",
        values | {"seed": seed, "bag": bag},
        Scenario,
        seed=seed,
        check=lambda scenario: (
            scenario.mismatch(fewest, most) or policy.find_contradiction(scenario) or contradiction(scenario, bag)
        ),
        counts={"events": (fewest, most)},
        narrow=lambda schema: narrow_scenario(schema, bag, fewest + seed % (most - fewest + 1), policy.responds_to_speech),
    )


def _role(event: GroundedEvent) -> ClipRole:
    return ClipRole(event.planned.role)
