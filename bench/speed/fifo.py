"""Scheduling modes of encoder and decoder, on a real clock and on the virtual clock that predicts it.

`python -m soundflow.bench.speed.fifo [--json OUT] [--runs N]`. Each mode (`streaming.simulate.MODES`) plays the same stream on a
small model. Its audio tower and KV cache do real work; each step is then extended by a sleep to the stated cost of a 3B model.
Responses are scripted, so all modes see the same triggers. The encoder of asynchronous modes is a thread; the processes of the
real runtime are tested in `tests/streaming`.

JSON: `rows`, one per mode and response length, measured on the real clock; `virtual`, the same rows from costs alone; `ok`.
"""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np

from soundflow.bench.harness import measure as bench
from soundflow.schemas import constants as c
from soundflow.schemas.documents import read_json
from soundflow.streaming.simulate import LONG, MODES, THREE_B, Costs, Script, StreamTrace, arrival, simulate

REPLY_TOKENS: Final = (10, 20, 50, 80)
CHUNKS: Final = 42
"""16.8 s per run: 2.8 s before the first trigger, then enough time after each trigger for the longest response (2.3 s)."""
TRIGGERS: Final = (7, 22, 37)
PARALLEL: Final = 2


class RealStage:
    """`streaming.simulate.Stage` on a real clock: the model works, then a sleep fills the stated cost."""

    def __init__(self, script: Script, costs: Costs):
        from soundflow.model.decoding import StreamDecoder

        self.trace, self.costs = StreamTrace(script), costs
        self.model, self.mel = _model(), _mel(script.chunks)
        self.decoder = StreamDecoder(self.model, [1, 2, 3])
        self.features: dict[int, Any] = {}
        self._encoded = 0
        self._encoded_more = threading.Condition()
        self._begun = time.monotonic()

    def now(self) -> float:
        """See `Stage`."""
        return time.monotonic() - self._begun

    def wait(self, until: float) -> None:
        """See `Stage`."""
        time.sleep(max(0.0, until - self.now()))

    def start_encoder(self) -> None:
        """See `Stage`."""
        threading.Thread(target=self._encode_forever, daemon=True).start()

    def await_features(self, chunk: int) -> int:
        """See `Stage`."""
        with self._encoded_more:
            self._encoded_more.wait_for(lambda: self._encoded >= chunk)
            return self._encoded

    def encode(self, chunk: int, calls: int) -> None:
        """See `Stage`. For a window that is encoded again only the newest chunk's work is real; the rest is a sleep."""
        self.trace.encode_start.append(self.now())
        self.trace.encoder_calls += calls
        self._spend(calls * self.costs.encode, lambda: self._tower(chunk))

    def extend(self, first: int, last: int) -> None:
        """See `Stage`."""
        features = np.concatenate([self.features.pop(number) for number in range(first, last + 1)])
        self._spend(self.costs.drain(last - first + 1), lambda: self.decoder.prefill(features))
        if not any(self.trace.script.replies.get(number) for number in range(first, last + 1)):
            self.decoder.stay_silent()

    def generate(self, tokens: int, on_first_token: Callable[[], None]) -> None:
        """See `Stage`."""
        self.decoder.open_response()
        for number in range(tokens + 1):
            self._spend(self.costs.token, self._token)
            if number == 0:
                on_first_token()
        if self.decoder.responding:
            self.decoder.close_response()

    def _token(self) -> None:
        if self.decoder.responding:
            self.decoder.next_id()

    def _encode_forever(self) -> None:
        for number in range(1, self.trace.script.chunks + 1):
            self.wait(arrival(number))
            self.trace.encode_start.append(self.now())
            self.trace.encoder_calls += 1
            self._spend(self.costs.encode, lambda number=number: self._tower(number))  # type: ignore[misc]
            with self._encoded_more:
                self._encoded = number
                self._encoded_more.notify_all()

    def _tower(self, chunk: int) -> None:
        import torch

        with torch.inference_mode():
            self.features[chunk] = (
                self.model.encode_chunks(self.mel[chunk - 1 : chunk].to(self.model.device)).float().cpu().numpy()
            )

    def _spend(self, seconds: float, work: Callable[[], object]) -> None:
        """Do the work and sleep until `seconds` have passed."""
        due = time.monotonic() + seconds
        work()
        time.sleep(max(0.0, due - time.monotonic()))


@cache
def _model() -> Any:
    import torch

    from soundflow.model.thinker import StreamingThinker
    from soundflow.model.vocabulary import StreamingConfig

    torch.set_num_threads(1)
    return StreamingThinker.from_scratch("nano", StreamingConfig(layout="soundflow/1", text_ids=tuple(range(1000)))).eval()


def _mel(chunks: int) -> Any:
    import torch

    from soundflow.model.frontend import chunked, log_mel

    noise = np.random.default_rng(1).standard_normal(chunks * c.CHUNK_SAMPLES).astype(np.float32) * np.float32(0.05)
    return torch.from_numpy(chunked(log_mel(noise)))


def play(mode: str, tokens: int) -> dict[str, Any]:
    """Return a row measured on the real clock."""
    _model()
    stage = RealStage(Script(CHUNKS, dict.fromkeys(TRIGGERS, tokens)), THREE_B)
    MODES[mode](stage)
    return _row(mode, tokens, stage.trace)


def predict(mode: str, tokens: int) -> dict[str, Any]:
    """Return the same row, predicted from costs."""
    return _row(mode, tokens, simulate(mode, Script(CHUNKS, dict.fromkeys(TRIGGERS, tokens)), THREE_B))


def _row(mode: str, tokens: int, trace: StreamTrace) -> dict[str, Any]:
    return {"mode": mode, "reply_tokens": tokens, **{name: round(value, 3) for name, value in trace.summary().items()}}


def _long_run(mode: str, tokens: int) -> dict[str, float]:
    return simulate(mode, Script(LONG, dict.fromkeys(range(25, LONG, 50), tokens)), THREE_B).summary()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    args = bench.parse_arguments("speed.fifo", argv, runs=1)
    os.environ["OMP_NUM_THREADS"] = "1"
    plays = [(mode, tokens) for tokens in REPLY_TOKENS for mode in MODES] * args.runs
    with ProcessPoolExecutor(PARALLEL) as pool:
        measured = list(pool.map(play, *zip(*plays, strict=True)))
    rows = [_median_of([row for row in measured if (row["mode"], row["reply_tokens"]) == key]) for key in dict.fromkeys(plays)]
    virtual = [predict(mode, tokens) for mode, tokens in dict.fromkeys(plays)]
    real = {(row["mode"], row["reply_tokens"]): row for row in rows}
    pairs = zip(rows, virtual, strict=True)
    errors = [abs(row["fcl_ms"] - predicted["fcl_ms"]) for row, predicted in pairs if row["mode"] != "authors"]
    ours, locked = _long_run("fifo", 50), _long_run("lockstep", 50)
    ratios = [
        bench.Ratio("resume, lockstep / ours, 50 tokens, ten minutes (virtual)", locked["resume_ms"] / ours["resume_ms"], 4.5),
        bench.Ratio("stalls of lockstep, 50 tokens (virtual, %)", locked["stall_pct"], at_least=5.0),
        bench.Ratio("stalls of ours (real, %)", max(real["fifo", tokens]["stall_pct"] for tokens in REPLY_TOKENS), at_most=0.0),
        bench.Ratio(
            "seconds dropped by ours (real)", max(real["fifo", tokens]["dropped_s"] for tokens in REPLY_TOKENS), at_most=0.0
        ),
        bench.Ratio(
            "first token, tick-barrier / ours (real)", real["tick-barrier", 20]["fcl_ms"] / real["fifo", 20]["fcl_ms"], 1.9
        ),
        bench.Ratio("encoder calls per chunk, ours (real)", real["fifo", 50]["encoder_calls_per_chunk"], at_most=1.0),
        bench.Ratio("first token, real - predicted, median (ms)", statistics.median(errors), at_most=5.0),
    ]
    _print(rows, virtual)
    code = bench.finish("fifo", ratios, {}, versions=["torch", "transformers"], missing=[], json_path=args.json, notes={})
    if args.json is not None:
        document = read_json(args.json) | {"rows": rows, "virtual": virtual}
        args.json.write_text(json.dumps(document, indent=1))
    return code


def _median_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str) else statistics.median(row[name] for row in rows) for name, value in rows[0].items()
    }


def _print(rows: Sequence[dict[str, Any]], virtual: Sequence[dict[str, Any]]) -> None:
    head = f"{'':<14}{'tokens':>7}{'first token ms':>20}{'resume ms':>18}{'stalls %':>10}{'dropped s':>10}{'calls':>7}"
    print(f"{head}   (real | virtual)")
    for row, predicted in zip(rows, virtual, strict=True):
        pairs = (f"{row[name]:8.0f} |{predicted[name]:8.0f}" for name in ("fcl_ms", "resume_ms"))
        rest = f"{row['stall_pct']:10.1f}{row['dropped_s']:10.1f}{row['encoder_calls_per_chunk']:7.1f}"
        print(f"{row['mode']:<14}{row['reply_tokens']:>7}  {'  '.join(pairs)}{rest}")


if __name__ == "__main__":
    raise SystemExit(main())
