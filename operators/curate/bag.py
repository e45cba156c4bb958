"""The bag: clip annotations drawn at random for the prompt of the scenario planner (paper, appendix B.1).

Every entry states what is known in advance: the roles with recordings of the sound, and whether the sub-task responds to it. A
scenario that contradicts an entry cannot be grounded and is corrected before it is refined. For models too small to follow rules
(`json_narrow`), the schema of the answer is restricted so that a contradiction cannot be expressed.

The texts of `contradiction` are sent to the model: to change one is to change requests and their cache keys.
"""

from __future__ import annotations

import copy
from collections import Counter
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

MAX_WORDS: Final = 300
"""Maximum number of characters of a caption or transcript in the prompt."""
ROLES: Final[dict[str, tuple[ClipRole, ...]]] = {
    "foreground": (ClipRole.FOREGROUND,),
    "background": (ClipRole.BACKGROUND, ClipRole.FOREGROUND),
    "ambient": (ClipRole.AMBIENT, ClipRole.BACKGROUND),
}
"""Roles of the clips that may play an event of a role."""
LEEWAY: Final = (0.5, 2.0)
"""Factors of the length of a recording that limit the length of its replacement."""

SHORT: Final = {"title": 60, "setting": 60, "narrative": 240, "why": 80, "caption": 120, "response": 200}
"""Maximum number of characters of texts, for models too small to end them."""

Bag = Sequence[dict[str, Any]]


def draw_bag(
    scene: SceneConfig, policy: Policy, palette: Palette, pool: ClipPool, rng: np.random.Generator, *, by_label: bool = False
) -> tuple[list[dict[str, Any]], str]:
    """Draw the annotations of a bag, and the voice of a spoken sub-task (paper: one voice per dialogue).

    `by_label`: draw labels uniformly, then a clip of each (`balance: label` of a recipe).

    The annotations are distinct. The bag of a spoken sub-task also has foreground sounds without a response.
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
        for annotation, clip in _annotations(_shuffled(clips, rng, by_label), share, pool, known):
            bag.append({"role": role.value, **annotation} | (_answered(policy, clip) if role is ClipRole.FOREGROUND else {}))
    return bag, voice


def _annotations(clips: Candidates, share: int, pool: ClipPool, known: set[str]) -> list[tuple[dict[str, Any], Clip]]:
    """Return the first `share` of `clips` with annotations that are not in `known`."""
    found: list[tuple[dict[str, Any], Clip]] = []
    for candidate in clips:
        if len(found) == share:
            break
        clip = pool.get(candidate.id)
        annotation = _annotation(clip, candidate)
        if annotation["sound"] not in known:
            known.add(str(annotation["sound"]))
            found.append((annotation, clip))
    return found


def _shuffled(clips: Candidates, rng: np.random.Generator, by_label: bool) -> Candidates:
    """Return the clips in random order; with `by_label`, first one clip of each label, then a second one of each, and so on."""
    shuffled = [clips[int(place)] for place in rng.permutation(len(clips))]
    if not by_label:
        return shuffled
    names = sorted({clip.name for clip in clips})
    rank = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
    seen: Counter[str] = Counter()
    rounds: list[tuple[int, int, Candidate]] = []
    for clip in shuffled:
        rounds.append((seen[clip.name], rank[clip.name], clip))
        seen[clip.name] += 1
    return [clip for *_, clip in sorted(rounds, key=lambda entry: entry[:2])]


def _annotation(clip: Clip, candidate: Candidate) -> dict[str, Any]:
    seconds = round(candidate.samples / c.SAMPLE_RATE, 1)
    if clip.kind == "speech":
        return {"sound": (clip.transcript or "")[:MAX_WORDS], "kind": "speech", "seconds": seconds}
    words = " ".join(label_words(clip.label)) or clip.label
    caption = {"caption": clip.caption[:MAX_WORDS]} if clip.caption and clip.caption != words else {}
    return {"sound": words[:MAX_WORDS], "seconds": seconds, **caption}


def _answered(policy: Policy, clip: Clip) -> dict[str, bool]:
    """Return whether the sub-task responds to a clip, if that follows from the clip alone."""
    with_response, without = policy.can_play(clip, True), policy.can_play(clip, False)
    return {"answered": with_response} if with_response != without else {}


def contradiction(scenario: Scenario, bag: Bag) -> str:
    """Return the first use of a bag entry in a scenario for which there is no recording, as text; empty if there is none."""
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
    """Return a scenario for the prompt of the refiner, with caption and length of the recordings of its sounds."""
    document = scenario.model_dump(mode="json")
    for event in document["events"]:
        entry = next((one for one in bag if one["sound"] == event["sound"]), None)
        if entry is not None:
            event["recording"] = {name: entry[name] for name in ("caption", "seconds") if name in entry}
    return document


def narrow_scenario(schema: dict[str, Any], bag: Bag, count: int, spoken: bool = False) -> None:
    """Restrict the schema of a `Scenario` to `count` events of the bag, of which the first is in the foreground.

    `spoken`: the first event must have a response, since a stream of a spoken sub-task needs one.
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
    """Restrict the schema of a `Refinement` to a scenario.

    Sounds with a recording must keep its words and, within `LEEWAY`, its length. Only events with a response may have a text.
    """
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
    """Reduce the maximum lengths of texts anywhere in a schema to those of `SHORT`."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _shorten(child)
    for name, value in node.get("properties", {}).items() if isinstance(node, dict) else ():
        if name in SHORT and value.get("type") == "string" and "enum" not in value:
            value["maxLength"] = min(SHORT[name], value.get("maxLength", SHORT[name]))
