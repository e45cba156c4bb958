"""Do planned scenes hang together? Rule violations per 100 scenes, `template` against `random` (the paper's ablation V4).

`python -m bench.coherence [--json OUT] [--runs N]`. Scenes are planned over a pool of labels (no audio): the words of a sound
library. The setting rule reads the planner's own lexicon of places: it tells whether a planner keeps to a place, not whether
the lexicon is right. Rules, the same for every planner:

* setting conflict: a sound that belongs to some place, but not to the place most sounds of the scene belong to;
* exclusive overlap: a loud or meaningful sound (speech, alarm, siren, scream, crash …) in the background of a scene;
* role misuse: a sound with a beginning and an end (a bark, a knock) as the constant ambience.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench import _common as bench
from operators.clips import ClipBrief, Palette, places_of
from operators.planning import plan_scene
from schemas.clip import Clip, ClipRole
from schemas.identity import rng_for
from schemas.outcome import Ok
from schemas.recipe import Recipe
from schemas.scene import Scene
from schemas.taxonomy import Task, Urgency, label_words, urgency

LABELS: Final = (
    "dog bark, cat meow, door knock, doorbell, baby crying, phone ringing, kettle, vacuum cleaner, clock tick, glass "
    "breaking, smoke alarm, typing, tap water, car horn, siren, bus, train, motorcycle, helicopter, jackhammer, bicycle "
    "bell, car crash, tram, truck engine, shop till, police siren, plane, bird chirping, rain, wind, thunder, river, "
    "owl, cow, duck, goose, horse gallop, rooster, crickets, sheep, wolf howl, frog, bee, sea waves, laughter, applause, "
    "scream, cough, sneeze, finger snap, cheering crowd, shouting, yawn, party chatter, giggle, hand clap, guitar, "
    "piano, drum, cymbal, violin, trumpet, xylophone, choir, flute, gong, organ, saxophone, rattle, zipper, paper, coin, "
    "box, squeak"
)
BACKDROPS: Final = (
    "traffic, crowd, rain, wind, river, party chatter, music, sea waves, crickets, engine, siren, alarm, scream, typing, dog bark"
)
AMBIENCES: Final = "wind, rain, traffic, sea waves, kitchen, restaurant, forest, music, bus engine"
SCENES: Final = 600
CONSTANT: Final = frozenset(
    "wind rain traffic sea waves kitchen restaurant forest music engine river crowd chatter hum storm insects crickets stream"
    " sauna drone".split()
)


class LabelPool:
    """Clips that are only labels."""

    def __init__(self) -> None:
        self._clips: dict[str, Clip] = {}
        for role, labels in (("foreground", LABELS), ("background", BACKDROPS), ("ambient", AMBIENCES)):
            for number, label in enumerate(labels.split(",")):
                for copy in range(3):
                    self._add(f"{role}/{number}/{copy}", label.strip(), ClipRole(role), None)
        for number in range(40):
            self._add(f"speech/{number}", "speech", ClipRole.FOREGROUND, f"sentence {number}")

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


def violations(scene: Scene, pool: LabelPool) -> Counter[str]:
    """Broken rules of one scene, by rule."""
    found: Counter[str] = Counter()
    clips = [(event.role, pool.get(event.clip_id)) for event in scene.events]
    places = [places_of(clip.label) for _, clip in clips]
    votes = Counter(place for named in places for place in named)
    setting = max(sorted(votes), key=lambda name: votes[name]) if votes else ""
    found["setting conflict"] = sum(bool(named) and setting not in named for named in places)
    for role, clip in clips:
        found["exclusive overlap"] += role is not ClipRole.FOREGROUND and (
            clip.kind == "speech" or urgency(clip.label) is Urgency.RESPOND
        )
        found["role misuse"] += role is ClipRole.AMBIENT and not set(label_words(clip.label)) & CONSTANT
    return found


def score(planner: str, pool: LabelPool) -> Counter[str]:
    """Broken rules in `SCENES` scenes of a planner."""
    tasks = {task.value: 1.0 for task in Task}
    recipe = Recipe.model_validate({"clips": "", "streams": SCENES, "shards": 1, "tasks": tasks, "scene": {"planner": planner}})
    palette = Palette.of(pool)
    total: Counter[str] = Counter()
    for index in range(SCENES):
        outcome = plan_scene(recipe, palette, pool, rng_for("c" * 64, 0, index, "scene"))
        assert isinstance(outcome, Ok)
        total += violations(outcome.value, pool)
    return total


def main(argv: Sequence[str] | None = None) -> int:
    """Score both planners; returns the exit code."""
    args = bench.arguments("coherence", argv, runs=3)
    pool = LabelPool()
    scores = {planner: score(planner, pool) for planner in ("template", "random")}
    scorers = {planner: partial(score, planner, pool) for planner in scores}
    timing = bench.compare("coherence", scorers, runs=args.runs)
    per_hundred = {
        name: {rule: round(100 * count / SCENES, 1) for rule, count in total.items()} for name, total in scores.items()
    }
    ratio = scores["template"].total() / scores["random"].total()
    ratios = [bench.Ratio("violations, template / random", ratio, at_most=0.2)]
    return bench.finish(
        "coherence",
        ratios,
        timing["medians"],
        versions=["numpy"],
        missing=[],
        json_path=args.json,
        notes={"violations per 100 scenes": per_hundred, "scenes": SCENES},
    )


if __name__ == "__main__":
    raise SystemExit(main())
