"""Cost of drains: a trained model processes held-out streams chunk by chunk, and 2 to 5 chunks at a time.

`python -m soundflow.bench.experiments.drains [--learned runs/learn] [--model DIR --corpus DIR] [--streams N] [--json OUT]`.
Streams are played through `streaming.listener` as in the runtime, by our rule (a decision per drained chunk) and by the literal
Algorithm 4 (one control token per drain).

Definitions are those of `training.evaluate` with k = 2, with one change: a response opens at the end of a drain, so a trigger
matches an event if its drain contains a chunk within k chunks of the event, and up to as many events as its drain has chunks.
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
MAX_RECALL_LOSS: Final = 0.04
"""Maximum loss of recall by drains."""


@dataclass(slots=True)
class DrainCounts:
    """Counts over streams."""

    events: int = 0
    found: int = 0
    triggers: int = 0
    unmatched: int = 0
    """Triggers that match no event."""
    correct_texts: int = 0
    """Triggers that match exactly one event with a text that its sub-task allows."""
    single_matches: int = 0
    seconds: float = 0.0

    def row(self, rule: str, drain: int) -> dict[str, Any]:
        """Return the figures."""
        return {
            "rule": rule,
            "drain": drain,
            "recall": self.found / max(self.events, 1),
            "precision": 1 - self.unmatched / max(self.triggers, 1),
            "false_alarms_per_min": self.unmatched / (self.seconds / 60),
            "text_accuracy": self.correct_texts / max(self.single_matches, 1),
        }


def match(events: Sequence[int], triggers: Sequence[int], drains: Sequence[int], within: int = WITHIN) -> dict[int, list[int]]:
    """Match triggers (last chunk of a drain) with events (chunks, from 1); return index of the trigger → indices of its events.

    Events, in order, take the nearest trigger with room. `drains` are the sizes of all drains, in order.
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


def measure(model: Path, corpus: Path, streams: int | None, device: str = "cpu", dtype: str = "fp32") -> list[dict[str, Any]]:
    """Return a row per rule and drain size."""
    import torch

    from soundflow.bench.experiments.learning.corpora import replies
    from soundflow.model.device import Placement
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
    source, tokenizer = StoredCorpus(corpus), QwenTokenizer.load()
    thinker = StreamingThinker.load(model, Placement.of(device, dtype)).eval()
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
            features = thinker.encode_chunks(torch.from_numpy(mel).to(thinker.device))
        due = [(chunk, response) for chunk, response in enumerate(turns.responses, 1) if response is not None]
        for (rule, size), tally in tallies.items():
            drains = [min(size, turns.chunks - at) for at in range(0, turns.chunks, size)]
            config = ListenConfig(literal=rule == "literal", longest_response=64)
            triggers = _play(Listener(thinker, tokenizer, instruction, config), features, drains)
            found = match([chunk for chunk, _ in due], [chunk for chunk, _ in triggers], drains)
            tally.events += len(due)
            tally.triggers += len(triggers)
            tally.found += sum(map(len, found.values()))
            tally.unmatched += sum(not events for events in found.values())
            tally.seconds += turns.chunks * thinker.streaming.chunk_samples / c.SAMPLE_RATE
            for place, events in found.items():
                if len(events) == 1:
                    expected, response = due[events[0]][1], tuple(tokenizer.encode(triggers[place][1]))
                    tally.single_matches += 1
                    tally.correct_texts += response == expected or response in allowed.get(expected, ())
    return [tally.row(rule, drain) for (rule, drain), tally in tallies.items()]


def _play(listener: Any, features: Any, drains: Sequence[int]) -> list[tuple[int, str]]:
    """Play a stream; return (chunk, text) of its responses."""
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
    """Run the benchmark; return exit code 1 if a limit is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m soundflow.bench.experiments.drains", description="Measure the cost of drains of 2 to 5 chunks."
    )
    add, learned = parser.add_argument, Path("runs/learn")
    add("--learned", type=Path, default=learned, metavar="DIR", help=f"Directory of the learning proof (default {learned}).")
    add("--model", type=Path, metavar="DIR", help="Directory of a checkpoint (default: seed 0 of the learning proof).")
    add("--corpus", type=Path, metavar="DIR", help="Build of held-out streams (default: that of the learning proof).")
    add("--streams", type=int, metavar="N", help="Maximum number of streams (default: all).")
    add("--json", type=Path, metavar="OUT", help="Also write the result to this JSON file (default: none).")
    bench.add_device(parser)
    args = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    model, corpus = args.model or args.learned / "seed-0/cpu-4/model", args.corpus or args.learned / "heldout"
    if not (model / "config.json").is_file():
        parser.error(f"{model}: not a checkpoint. Make one: python -m soundflow.bench.experiments.learning -o {args.learned}")
    rows = measure(model, corpus, args.streams, args.device, args.dtype)
    print(f"{'':<10}{'drain':>6}{'recall':>9}{'precision':>11}{'false alarms/min':>18}{'texts':>8}")
    for row in rows:
        figures = f"{row['recall']:9.3f}{row['precision']:11.3f}{row['false_alarms_per_min']:18.2f}{row['text_accuracy']:8.3f}"
        print(f"{row['rule']:<10}{row['drain']:>6}{figures}")
    settled = {row["drain"]: row for row in rows if row["rule"] == "settled"}
    losses = {drain: settled[1]["recall"] - settled[drain]["recall"] for drain in DRAINS[1:]}
    ratios = [
        bench.Ratio(f"recall lost by drains of {drain} chunks", loss, at_most=MAX_RECALL_LOSS) for drain, loss in losses.items()
    ]
    notes = {"rows": rows, "model": str(model)}
    return bench.finish("drains", ratios, {}, versions=["torch", "transformers"], json_path=args.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
