"""Hierarchical event curation (paper, section 3.2 and B.1): a bag of annotations → scenario → refinement → grounded scene.

A language model plans and words; which clips there are, what the sub-task answers, and whether a clip or a wording is fit is
decided by us. What came of it, and why, is a `Curation`: everything a sheet and a report tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.bag import Bag, contradiction, draw_bag, narrow_refinement, narrow_scenario, with_recordings
from soundflow.operators.curate.grounding import GroundingTools, ground
from soundflow.operators.curate.planning import draw_task, plan_scene
from soundflow.operators.protocols.asking import Answer as Asked
from soundflow.operators.protocols.asking import ask
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

CURATION_VERSION: Final = "4"


async def curate(
    recipe: Recipe, palette: Palette, chat: ChatModel, tools: GroundingTools, rng: np.random.Generator
) -> Outcome[Curation]:
    """One attempt at a scene. Ok(Curation) also when it was refused; Failed when model, verifier or generator broke.

    Deterministic in its arguments and in what those answer. Raises BudgetSpent and InputError, which end the work.
    """
    task = draw_task(recipe, palette, rng)
    if POLICIES[task].has_fixed_order:
        return _in_order(recipe, task, palette, tools, rng)
    return await _SceneCurator(recipe.scene, POLICIES[task], palette, chat, tools, rng).curate()


def _in_order(recipe: Recipe, task: Task, palette: Palette, tools: GroundingTools, rng: np.random.Generator) -> Outcome[Curation]:
    """A scene of clips in an order of their own, such as a dialogue's: cast without the model, and it says so."""
    planned = plan_scene(recipe, palette, tools.pool, rng, POLICIES[task])
    if isinstance(planned, Failed):
        return planned
    if isinstance(planned, Rejected):
        return Ok(Curation(task=task, planner="template", refused=planned.reason))
    return Ok(Curation(task=task, planner=planned.value.planner, title=planned.value.title, scene=planned.value))


class _SceneCurator:
    def __init__(
        self,
        scene: SceneConfig,
        policy: Policy,
        palette: Palette,
        chat: ChatModel,
        tools: GroundingTools,
        rng: np.random.Generator,
    ):
        self.scene, self.policy, self.palette, self.chat, self.tools, self.rng = scene, policy, palette, chat, tools, rng
        model = chat.config.answering("scenario_planner").model
        self.told = Curation(task=policy.task, planner=MODEL_PREFIX + model)

    async def curate(self) -> Outcome[Curation]:
        bag, voice = draw_bag(self.scene, self.policy, self.palette, self.tools.pool, self.rng)
        scenario = await self._plan(bag)
        if not isinstance(scenario, Ok):
            return self._refused(scenario)
        refinement = await self._refine(scenario.value, bag)
        if not isinstance(refinement, Ok):
            return self._refused(refinement)
        grounded = await ground(scenario.value.events, refinement.value.events, self.policy, self.tools, voice, self.rng)
        if not isinstance(grounded, Ok):
            return self._refused(grounded)
        events = tuple(grounded.value.events)
        if grounded.value.refused:
            refused = {"events": events, "refused": grounded.value.refused, "detail": grounded.value.detail}
            return Ok(self.told.model_copy(update=refused))
        return Ok(self._cast(events))

    async def _plan(self, bag: Bag) -> Outcome[Scenario]:
        asked = await plan_scenario(self.chat, self.scene, self.policy, bag, int(self.rng.integers(2**31)))
        self._account("scenario_planner", asked)
        if not isinstance(asked, Ok):
            return asked
        scenario = asked.value.value
        planned = {"title": scenario.title, "setting": scenario.setting, "narrative": scenario.narrative}
        self.told = self.told.model_copy(update={"planner": MODEL_PREFIX + asked.value.model, **planned})
        return Ok(scenario)

    async def _refine(self, scenario: Scenario, bag: Bag) -> Outcome[Refinement]:
        worded = bool(self.policy.response_rule)
        asked = await ask(
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
        self._account("event_refiner", asked)
        self.writer = MODEL_PREFIX + asked.value.model if isinstance(asked, Ok) else ""
        return Ok(asked.value.value) if isinstance(asked, Ok) else asked

    def _account(self, role: str, asked: Outcome[Asked[Any]]) -> None:
        """Keep what a question cost, answered or not."""
        if isinstance(asked, Failed):
            return
        usage = asked.value.usage if isinstance(asked, Ok) else Usage.model_validate(asked.metrics["usage"])
        calls = asked.value.calls if isinstance(asked, Ok) else tuple(asked.metrics["calls"])
        self.told = self.told.model_copy(update={"usage": self.told.usage | {role: usage}, "calls": (*self.told.calls, *calls)})

    def _refused(self, outcome: Rejected | Failed) -> Outcome[Curation]:
        if isinstance(outcome, Failed):
            payload = outcome.payload | {"curation": self.told.model_dump(mode="json")}
            return replace(outcome, payload=payload)
        return Ok(self.told.model_copy(update={"refused": outcome.reason, "detail": str(outcome.metrics.get("detail", ""))}))

    def _cast(self, events: tuple[GroundedEvent, ...]) -> Curation:
        """The scene of grounded events; those that would pass the longest stream, or be answered if they were in front, are left
        out."""
        events, clips = self._kept(events)
        heard = [
            clip for event, clip in zip(events, clips, strict=True) if clip is not None and event.planned.role == "foreground"
        ]
        brief = self.policy.draw_brief(heard, self.palette, self.rng)
        if brief is None:
            return self.told.model_copy(update={"events": events, "refused": "no_stream_of_the_task"})
        options = iter(self.policy.respond_to_stream(brief, heard))
        low, high = (round(seconds * c.SAMPLE_RATE) for seconds in self.scene.gap_seconds)
        told: list[GroundedEvent] = []
        cast: list[SceneEvent] = []
        for event, clip in zip(events, clips, strict=True):
            if clip is None:
                told.append(event)
            elif event.planned.role == "foreground":
                responses, event = self._answered(event, clip, next(options))
                gap = int(self.rng.integers(low, high + 1))
                cast.append(SceneEvent(clip_id=clip.id, role=ClipRole.FOREGROUND, responses=responses, gap=gap))
                told.append(event)
            elif self.policy.can_play_in_background(brief, clip.label):
                cast.append(SceneEvent(clip_id=clip.id, role=_role(event)))
                told.append(event)
            else:
                told.append(event.model_copy(update={"clip_id": None, "left_out": "would_be_answered"}))
        instructions = self.policy.instructions(brief)
        number = int(self.rng.integers(len(instructions)))
        scene = Scene(
            task=self.policy.task,
            planner=self.told.planner,
            title=self.told.title,
            instruction=instructions[number],
            brief=brief,
            events=tuple(cast),
            draws=(Draw(what="task", value=self.policy.task.value), Draw(what="instruction variant", value=number)),
        )
        return self.told.model_copy(update={"events": tuple(told), "scene": scene})

    def _kept(self, events: tuple[GroundedEvent, ...]) -> tuple[tuple[GroundedEvent, ...], list[Clip | None]]:
        """The events with their clips, as far as the longest stream reaches."""
        told: list[GroundedEvent] = []
        clips: list[Clip | None] = []
        length = 0
        for event in events:
            clip = None if event.clip_id is None else self.tools.pool.get(event.clip_id)
            if clip is not None and event.planned.role == "foreground":
                reached = length + round(self.scene.gap_seconds[1] * c.SAMPLE_RATE) + clip.samples
                if length and reached > self.scene.max_seconds * c.SAMPLE_RATE:
                    clip, event = None, event.model_copy(update={"clip_id": None, "left_out": "stream_long_enough"})
                else:
                    length = reached
            told.append(event)
            clips.append(clip)
        return tuple(told), clips

    def _answered(
        self, event: GroundedEvent, clip: Clip, options: Sequence[ResponseOption]
    ) -> tuple[tuple[SceneResponse, ...], GroundedEvent]:
        """The responses of a foreground event: in the model's words where they may be said, else in the sub-task's own."""
        text = event.refined.response
        if not options:
            return (), event
        if text and self.policy.is_acceptable_wording(clip, text):
            return self.policy.schedule(clip, options[0]._replace(text=text, source=self.writer), self.scene), event
        problem = wording.find_problem(text or "", clip.label, clip.caption) if self.policy.response_rule else ""
        return self.policy.draw_responses(clip, options, self.scene, self.rng), event.model_copy(update={"wording": problem})


async def plan_scenario(chat: ChatModel, scene: SceneConfig, policy: Policy, bag: Bag, seed: int) -> Outcome[Asked[Scenario]]:
    """Ask for a scenario of what is in `bag`, with as many events as a scene has; see `operators.protocols.asking.ask`."""
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
