"""The bag: annotations matched at random (paper, appendix B.1), as the planner sees them, and what can be made of them.

What we know before a model is asked is told with every entry, and held against its plan: in which role there is a recording, and
whether the sub-task answers it. A plan that contradicts it could not be grounded, and is better mended before it is refined.
For models too small to keep to rules (`json_narrow`) the schema of the answer is made one in which it cannot be written.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from soundflow.operators.compose.clips import Candidate, Candidates, ClipPool, Palette
from soundflow.operators.tasks import Policy
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scenario import Scenario
from soundflow.schemas.taxonomy import label_words

LONGEST_WORDS: Final = 300
"""Characters of a caption or transcript that the planner is shown."""
ROLES: Final[dict[str, tuple[ClipRole, ...]]] = {
    "foreground": (ClipRole.FOREGROUND,),
    "background": (ClipRole.BACKGROUND, ClipRole.FOREGROUND),
    "ambient": (ClipRole.AMBIENT, ClipRole.BACKGROUND),
}
"""Role of an event → roles of clips that may play it."""
LEEWAY: Final = (0.5, 2.0)
"""A known recording may be replaced by one this much shorter or longer."""

SHORT: Final = {"title": 60, "setting": 60, "narrative": 240, "why": 80, "caption": 120, "response": 200}
"""Characters of a text, for models too small to find an end."""

Bag = Sequence[dict[str, Any]]


def draw_bag(
    scene: SceneConfig, policy: Policy, palette: Palette, pool: ClipPool, rng: np.random.Generator
) -> tuple[list[dict[str, Any]], str]:
    """Annotations matched at random, as the planner sees them, and the voice of a spoken sub-task (paper: one a dialogue).

    No two of them read alike. A spoken sub-task also gets sounds for its foreground, to stay silent at.
    """
    lists = list(policy.required_clips(palette).values())
    voice = ""
    if policy.responds_to_speech:
        speech = lists[0]
        voice = speech[int(rng.integers(len(speech)))].speaker
        lists = [[clip for clip in speech if clip.speaker == voice], palette.sounds]
    shares = [(clips, max(1, scene.bag[0] // len(lists)), ClipRole.FOREGROUND) for clips in lists]
    shares += [
        (policy.background_clips(palette), scene.bag[1], ClipRole.BACKGROUND),
        (palette.ambient, scene.bag[2], ClipRole.AMBIENT),
    ]
    bag: list[dict[str, Any]] = []
    for clips, share, role in shares:
        known = {str(one["sound"]) for one in bag}
        for annotation, clip in _annotations(clips, share, pool, known, rng):
            bag.append({"role": role.value, **annotation} | (_answered(policy, clip) if role is ClipRole.FOREGROUND else {}))
    return bag, voice


def _annotations(
    clips: Candidates, share: int, pool: ClipPool, known: set[str], rng: np.random.Generator
) -> list[tuple[dict[str, Any], Clip]]:
    """Up to `share` of `clips` with annotations that are not `known` yet."""
    found: list[tuple[dict[str, Any], Clip]] = []
    for place in rng.permutation(len(clips)):
        if len(found) == share:
            break
        clip = pool.get(clips[int(place)].id)
        annotation = _annotation(clip, clips[int(place)])
        if annotation["sound"] not in known:
            known.add(str(annotation["sound"]))
            found.append((annotation, clip))
    return found


def _annotation(clip: Clip, candidate: Candidate) -> dict[str, Any]:
    seconds = round(candidate.samples / c.SAMPLE_RATE, 1)
    if clip.kind == "speech":
        return {"sound": (clip.transcript or "")[:LONGEST_WORDS], "kind": "speech", "seconds": seconds}
    words = " ".join(label_words(clip.label)) or clip.label
    caption = {"caption": clip.caption[:LONGEST_WORDS]} if clip.caption and clip.caption != words else {}
    return {"sound": words[:LONGEST_WORDS], "seconds": seconds, **caption}


def _answered(policy: Policy, clip: Clip) -> dict[str, bool]:
    """What the sub-task makes of it, where that follows from the clip alone."""
    yes, no = policy.can_play(clip, True), policy.can_play(clip, False)
    return {"answered": yes} if yes != no else {}


def contradiction(scenario: Scenario, bag: Bag) -> str:
    """What a scenario makes of an entry of its bag that there is no recording for, in words; empty for nothing."""
    entries = {str(one["sound"]): one for one in bag}
    for event in scenario.events:
        entry = entries.get(event.sound)
        if entry is None:
            continue
        if ClipRole(entry["role"]) not in ROLES[event.role]:
            return (
                f"event {event.order}: there is no recording of {event.sound} for the {event.role}, only for the {entry['role']}"
            )
        if event.role == "foreground" and entry.get("answered", event.responds) != event.responds:
            return f"event {event.order}: responds must be {str(entry['answered']).lower()} for {event.sound}"
    return ""


def with_recordings(scenario: Scenario, bag: Bag) -> dict[str, Any]:
    """A scenario for its refiner: with what is known of the recordings that its sounds name."""
    told = scenario.model_dump(mode="json")
    for event in told["events"]:
        entry = next((one for one in bag if one["sound"] == event["sound"]), None)
        if entry is not None:
            event["recording"] = {name: entry[name] for name in ("caption", "seconds") if name in entry}
    return told


def narrow_scenario(schema: dict[str, Any], bag: Bag, count: int, spoken: bool = False) -> None:
    """Make the schema of a `Scenario` one of `count` events of what is in the bag, the first of them in the foreground.

    `spoken`: the first is one that is answered, since nothing is to be done in a stream of a spoken sub-task without one.
    """
    front, behind = schema["$defs"]["SubEvent"]["anyOf"]
    kinds: list[tuple[str, bool | None, dict[str, Any]]] = []
    for role in ROLES:
        entries = [one for one in bag if one["role"] == role]
        for answered in (True, False, None) if role == "foreground" else (None,):
            names = [one["sound"] for one in entries if one.get("answered") is answered or role != "foreground"]
            if names:
                kind = copy.deepcopy(front if role == "foreground" else behind)
                kind["properties"]["role"] = {"type": "string", "enum": [role]}
                kind["properties"]["sound"] = {"type": "string", "enum": names}
                if answered is not None:
                    kind["properties"]["responds"] = {"type": "boolean", "const": answered}
                kinds.append((role, answered, kind))
    first = [kind for role, answered, kind in kinds if role == "foreground" and (answered or not spoken)]
    events = []
    for order in range(1, count + 1):
        fitting = copy.deepcopy(first if order == 1 and first else [kind for _, _, kind in kinds])
        for kind in fitting:
            kind["properties"]["order"] = {"type": "integer", "const": order}
        events.append({"anyOf": fitting})
    schema["properties"]["events"] = {"type": "array", "prefixItems": events}
    _shorten(schema)


def narrow_refinement(schema: dict[str, Any], scenario: Scenario, bag: Bag, worded: bool) -> None:
    """Make the schema of a `Refinement` one of this scenario: known recordings are asked for in the words and at the length they
    have, and only who is answered is answered."""
    entries = {str(one["sound"]): one for one in bag}
    events = []
    for event in scenario.events:
        refined = copy.deepcopy(schema["$defs"]["RefinedEvent"])
        properties = refined["properties"]
        properties["order"] = {"type": "integer", "const": event.order}
        properties["response"] = properties["response"]["anyOf"][0] if event.responds and worded else {"type": "null"}
        entry = entries.get(event.sound)
        if entry is not None:
            properties["query"] = {"type": "string", "enum": [event.sound, *([entry["caption"]] if "caption" in entry else [])]}
            low, high = (round(max(0.1, share * entry["seconds"]), 1) for share in LEEWAY)
            properties["min_seconds"], properties["max_seconds"] = {"const": low}, {"const": min(high, 60.0)}
        events.append(refined)
    schema["properties"]["events"] = {"type": "array", "prefixItems": events}
    _shorten(schema)


def _shorten(node: Any) -> None:
    """Lower the longest lengths of texts wherever they stand in a schema."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _shorten(child)
    for name, value in node.get("properties", {}).items() if isinstance(node, dict) else ():
        if name in SHORT and value.get("type") == "string" and "enum" not in value:
            value["maxLength"] = min(SHORT[name], value.get("maxLength", SHORT[name]))
