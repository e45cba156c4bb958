"""Speed of curation without the time of the model: scenes, replayed answers, retrieval of clips.

`python -m soundflow.bench.speed.curation [--json OUT] [--runs N]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from soundflow.bench.harness import measure as bench
from soundflow.bench.speed.replay import replay
from soundflow.bench.speed.retrieval import retrieval
from soundflow.bench.speed.scenes import scenes

PARTS: Final[tuple[Callable[[int], bench.Part], ...]] = (scenes, replay, retrieval)
"""Functions from the number of runs to the results of a part."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    arguments = bench.parse_arguments("speed.curation", argv)
    measured = [part(arguments.runs) for part in PARTS]
    return bench.finish(
        "curation",
        [ratio for part in measured for ratio in part.ratios],
        {label: seconds for part in measured for label, seconds in part.medians.items()},
        versions=["numpy", "pydantic", "openai", "faiss-cpu"],
        json_path=arguments.json,
        notes={key: value for part in measured for key, value in part.notes.items()},
    )


if __name__ == "__main__":
    raise SystemExit(main())
