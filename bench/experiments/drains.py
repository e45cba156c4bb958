"""What drains cost: a trained model hears held-out streams chunk by chunk, and 2 to 5 chunks at a time.

`python -m soundflow.bench.experiments.drains [--learned runs/learn] [--model DIR --corpus DIR] [--streams N] [--json OUT]`.
`--learned` is where `python -m soundflow.bench.experiments.learning` left its model of seed 0 and its held-out corpus; the other
two name them one by one. Everything is played through `streaming.listener`, as the runtime does, by the settled rule (every
drained chunk is judged) and by Algorithm 4 word for word (one control token a drain).

Definitions are `training.evaluate`'s with k = 2, but for what a drain changes: a response comes at a drain's end, so a trigger
finds an event when its drain holds a chunk at most k from the event's; it may find as many events as its drain has chunks.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from soundflow.bench.harness import measure as bench

DRAINS: Final = (1, 2, 3, 4, 5)
WITHIN: Final = 2
LOST: Final = 0.04
"""Recall a drain may cost."""


@dataclass(slots=True)
class DrainCounts:
    """Counts over streams."""

    events: int = 0
    found: int = 0
    triggers: int = 0
    useless: int = 0
    """Triggers that found nothing."""
    texts: int = 0
    """Of triggers that found one event alone: replies its sub-task allows."""
    lone: int = 0
    seconds: float = 0.0

    def row(self, rule: str, drain: int) -> dict[str, Any]:
        """Figures."""
        return {
            "rule": rule,
            "drain": drain,
            "recall": self.found / max(self.events, 1),
            "precision": 1 - self.useless / max(self.triggers, 1),
            "false_alarms_per_min": self.useless / (self.seconds / 60),
            "text_accuracy": self.texts / max(self.lone, 1),
        }


def match(events: Sequence[int], triggers: Sequence[int], drains: Sequence[int], within: int = WITHIN) -> dict[int, list[int]]:
    """Which events (chunks, from 1) each trigger (a drain's last chunk) finds: trigger's place → events' places.

    Events in order take the nearest trigger that has room; `drains` are the sizes of all drains, in order.
    """
    begins = {end: end - size + 1 for end, size in zip(accumulate(drains), drains, strict=True)}
    found: dict[int, list[int]] = {place: [] for place in range(len(triggers))}
    for event, chunk in enumerate(events):
        far = {place: max(begins[end] - chunk, chunk - end, 0) for place, end in enumerate(triggers)}
        free = [place for place, end in enumerate(triggers) if len(found[place]) <= end - begins[end]]
        near = [place for place in free if far[place] <= within]
        if near:
            found[min(near, key=lambda place: (far[place], place))].append(event)
    return found


def measure(model: Path, corpus: Path, streams: int | None) -> list[dict[str, Any]]:
    """A row for each rule and size of drains."""
    import torch

    from soundflow.bench.experiments.learning.corpora import replies
    from soundflow.model.thinker import StreamingThinker
    from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
    from soundflow.schemas import constants as c
    from soundflow.schemas.tokens import layout_of
    from soundflow.streaming.events import ListenConfig
    from soundflow.streaming.listener import Listener
    from soundflow.training.corpus import StoredCorpus
    from soundflow.training.evaluate import Evaluator
    from soundflow.training.sequences import Window

    torch.set_num_threads(1)
    source, thinker, tokenizer = StoredCorpus(corpus), StreamingThinker.load(model).eval(), QwenTokenizer.load()
    evaluator, allowed = Evaluator(thinker, source), replies(source)
    tallies = {
        (rule, drain): DrainCounts() for rule in ("settled", "literal") for drain in DRAINS if (rule, drain) != ("literal", 1)
    }
    for shard, index in list(evaluator.streams())[:streams]:
        turns = evaluator.builder.turns(shard, index)
        layout = layout_of(turns.layout)
        instruction = tokenizer.decode(turns.head[len(layout.prefix) : len(turns.head) - len(layout.prefix_end)])
        with torch.inference_mode():
            mel = evaluator.builder.mel(shard, index, Window(0, turns.chunks - 1, 0))
            features = thinker.encode_chunks(torch.from_numpy(mel))
        due = [(chunk, said) for chunk, said in enumerate(turns.responses, 1) if said is not None]
        for (rule, size), tally in tallies.items():
            drains = [min(size, turns.chunks - at) for at in range(0, turns.chunks, size)]
            config = ListenConfig(literal=rule == "literal", longest_response=64)
            triggers = _play(Listener(thinker, tokenizer, instruction, config), features, drains)
            found = match([chunk for chunk, _ in due], [chunk for chunk, _ in triggers], drains)
            tally.events += len(due)
            tally.triggers += len(triggers)
            tally.found += sum(map(len, found.values()))
            tally.useless += sum(not events for events in found.values())
            tally.seconds += turns.chunks * thinker.streaming.chunk_samples / c.SAMPLE_RATE
            for place, events in found.items():
                if len(events) == 1:
                    expected, said = due[events[0]][1], tuple(tokenizer.encode(triggers[place][1]))
                    tally.lone += 1
                    tally.texts += said == expected or said in allowed.get(expected, ())
    return [tally.row(rule, drain) for (rule, drain), tally in tallies.items()]


def _play(listener: Any, features: Any, drains: Sequence[int]) -> list[tuple[int, str]]:
    """(chunk, text) of responses."""
    from soundflow.streaming.events import ResponseDone

    triggers: list[tuple[int, str]] = []
    at = 0
    for size in drains:
        events = listener.drain(features[at : at + size])
        at += size
        while listener.responding:
            events += listener.step()
        triggers += [(at, event.text) for event in events if isinstance(event, ResponseDone)]
    return triggers


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m soundflow.bench.experiments.drains", description="What drains of 2 to 5 chunks cost."
    )
    parser.add_argument("--learned", type=Path, default=Path("runs/learn"))
    parser.add_argument("--model", type=Path, help="a checkpoint, instead of the proof's")
    parser.add_argument("--corpus", type=Path, help="a build of held-out streams, instead of the proof's")
    parser.add_argument("--streams", type=int, help="the first so many")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    model, corpus = args.model or args.learned / "seed-0/cpu-4/model", args.corpus or args.learned / "heldout"
    if not (model / "config.json").is_file():
        parser.error(f"{model} is not a checkpoint. Make one: python -m soundflow.bench.experiments.learning -o {args.learned}")
    rows = measure(model, corpus, args.streams)
    print(f"{'':<10}{'drain':>6}{'recall':>9}{'precision':>11}{'false alarms/min':>18}{'texts':>8}")
    for row in rows:
        figures = f"{row['recall']:9.3f}{row['precision']:11.3f}{row['false_alarms_per_min']:18.2f}{row['text_accuracy']:8.3f}"
        print(f"{row['rule']:<10}{row['drain']:>6}{figures}")
    settled = {row["drain"]: row for row in rows if row["rule"] == "settled"}
    lost = {drain: settled[1]["recall"] - settled[drain]["recall"] for drain in DRAINS[1:]}
    ratios = [bench.Ratio(f"recall lost to drains of {drain} chunks", value, at_most=LOST) for drain, value in lost.items()]
    notes = {"rows": rows, "model": str(model)}
    return bench.finish("drains", ratios, {}, versions=["torch", "transformers"], json_path=args.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
