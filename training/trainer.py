"""The trainer of one stage: optimizer steps, the log, checkpoints and the final model. Runs resume bit for bit."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final, Literal

import numpy as np
import torch
from torch.distributed.tensor import DTensor

from soundflow.model.device import Placement
from soundflow.model.frontend import MELS
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import AUDIO_ROW
from soundflow.schemas.atomic_file import TEMPORARY, sweep_abandoned, write_atomic
from soundflow.schemas.base import InputError, Interrupted, Schema
from soundflow.schemas.file_lock import lock
from soundflow.training.batches import Batch
from soundflow.training.checkpoints import Checkpoints, TrainState, export
from soundflow.training.config import StageConfig
from soundflow.training.corpus import StreamSource
from soundflow.training.distributed import Processes, shard
from soundflow.training.freezing import freeze
from soundflow.training.loader import Loader, LoaderConfig, Position
from soundflow.training.logs import RunLog
from soundflow.training.metrics import Speed, StepLog, Sums
from soundflow.training.objective import DeviceBatch, DualLoss, Weights

LOCK: Final = "lock"


class RunRecord(Schema):
    """What identifies a run (RUN/run.json). A run is resumed only with an equal record."""

    format: Literal["soundflow.run/1"] = "soundflow.run/1"
    stage: StageConfig
    corpus: str
    """`StreamSource.id` of the training data."""
    model: str
    """Initial weights: a path or a hub id."""
    seed: int
    processes: int


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a run."""

    steps: int
    log: StepLog | None
    """The last line of the log; None when there was nothing left to train."""
    model: Path
    """The trained checkpoint."""


class Trainer:
    """Trains one stage in the directory `run`, or resumes it."""

    def __init__(
        self,
        stage: StageConfig,
        source: StreamSource,
        model: str | Path,
        run: Path,
        processes: Processes,
        *,
        seed: int = 0,
        workers: int = 0,
        on_step: Callable[[StepLog], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ):
        """Load the checkpoint `model`, lock `run` and restore its newest checkpoint.

        `should_stop` is polled after each step, `on_step` is called with each line of the log (in the first process). Raises
        InputError if `model` is not a streaming checkpoint or `run` belongs to another training.
        """
        self.stage, self.run, self.processes = stage, run, processes
        self.on_step, self.should_stop = on_step, should_stop
        self.accumulation = stage.accumulation(processes.count)
        thinker = StreamingThinker.load(model, Placement(processes.device), **_attention(stage, processes.device))
        record = RunRecord(stage=stage, corpus=source.id, model=str(model), seed=seed, processes=processes.count)
        self._lock = _claim(run, record) if processes.is_first else None
        processes.barrier()
        torch.manual_seed(seed)
        trained = freeze(thinker.train(), stage.trainable)
        _checkpoint_activations(thinker, stage.checkpointing)
        self.speed = Speed(thinker, processes.device, processes.count)
        self.response_row = thinker.response_row
        self.objective = DualLoss(thinker)
        shard(self.objective, processes, stage.precision == "bf16")
        if processes.count > 1:  # sharding replaced the parameters
            trained = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]
        self.trained = trained
        self.optimizer = torch.optim.AdamW(
            trained, lr=stage.learning_rate, betas=stage.betas, eps=stage.epsilon, weight_decay=stage.weight_decay
        )
        self.checkpoints = Checkpoints(run / "checkpoints", stage.keep_checkpoints, processes)
        try:
            self.state = self.checkpoints.load(self.objective, self.optimizer) or TrainState(step=0, position=Position())
        except BaseException:
            if self._lock is not None:
                self._lock.close()
            raise
        config = LoaderConfig(
            seed=seed,
            micro_batch=stage.micro_batch,
            window_chunks=stage.window_chunks,
            streaming=thinker.streaming,
            drain=stage.drain,
            packing=stage.packing,
            processes=processes.count,
            rank=processes.rank,
            workers=workers,
        )
        self.loader = Loader(source, config, self.state.position)
        self.empty = _empty_batch(thinker)

    def train(self) -> TrainResult:
        """Train to the last step, then write RUN/model. May be called once.

        Raises Interrupted, after a checkpoint, as soon as `should_stop` returns True in any process.
        """
        last = None
        with self._lock or contextlib.nullcontext(), contextlib.ExitStack() as stack:
            log = stack.enter_context(RunLog(self.run, self.state.step)) if self.processes.is_first else None
            for line in self._steps():
                last = line
                if log is not None:
                    log.write(line)
                if self.on_step is not None and self.processes.is_first:
                    self.on_step(line)
            export(self.objective, self.run / "model", self.processes)
        return TrainResult(self.state.step, last, self.run / "model")

    def _steps(self) -> Iterator[StepLog]:
        batches = iter(self.loader)
        begin = logged = time.monotonic()
        tokens_since = 0.0
        try:
            while self.state.step < self.stage.steps:
                norm, tokens = self._step(batches)
                tokens_since += tokens
                step = self.state.step
                if step % self.stage.log_every == 0 or step == self.stage.steps:
                    now = time.monotonic()
                    yield self._line(norm, tokens_since / (now - logged), now - begin)
                    self.state = self.state.model_copy(update={"since_line": ()})
                    logged, tokens_since = now, 0.0
                if self._stop():
                    self._save()
                    raise Interrupted
                if step % self.stage.save_every == 0 or step == self.stage.steps:
                    self._save()
        finally:
            batches.close()

    def _step(self, batches: Iterator[tuple[Batch | None, Position]]) -> tuple[float, float]:
        """Run one optimizer step; return the norm of the gradient and the tokens of all processes."""
        loaded = [next(batches) for _ in range(self.accumulation)]
        micro = [batch or self.empty for batch, _ in loaded]
        lm, stream = self.processes.sums([sum(len(b.lm_rows) for b in micro), sum(len(b.stream_rows) for b in micro)])
        scale = self.processes.count  # FSDP averages gradients over processes; they must be summed
        weights = Weights(lm=scale / max(lm, 1), stream=scale * self.stage.loss_weight / max(stream, 1))
        sums = Sums()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.stage, self.state.step)
        for batch in micro:
            with self._autocast():
                out = self.objective(DeviceBatch.of(batch, self.processes.device), weights)
            out["loss"].backward()
            sums.count(batch, out, self.response_row)
            sums.flops += self.speed.flops(batch)
        gradient = torch.nn.utils.clip_grad_norm_(self.trained, self.stage.max_grad_norm)
        norm = float(gradient.full_tensor() if isinstance(gradient, DTensor) else gradient)
        if not math.isfinite(norm):
            remedy = "Start another run with a lower rate; the checkpoints of this one are intact"
            why = f"the gradient of step {self.state.step + 1} is not finite"
            raise InputError(why, field="learning_rate", value=self.stage.learning_rate, remedy=remedy)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        done = Sums.of(self.processes.sums(sums.values()))
        since = Sums.of(self.state.since_line)
        since.add(done)
        self.state = TrainState(
            step=self.state.step + 1,
            position=loaded[-1][1],
            tokens=self.state.tokens + int(done.tokens),
            windows=self.state.windows + int(done.windows),
            since_line=tuple(since.values()),
        )
        return norm, done.tokens

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.stage.precision == "bf16" and self.processes.count == 1:  # FSDP casts itself
            return torch.autocast(self.processes.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def _stop(self) -> bool:
        return self.processes.sums([float(self.should_stop())])[0] > 0

    def _save(self) -> None:
        self.checkpoints.save(self.objective, self.optimizer, self.state)

    def _line(self, norm: float, tokens_per_second: float, since: float) -> StepLog:
        sums = Sums.of(self.state.since_line)
        return StepLog(
            step=self.state.step,
            l_lm=_ratio(sums.lm, sums.lm_labels),
            l_stream=_ratio(sums.stream, sums.stream_labels),
            trigger_precision=_ratio(sums.hits, sums.triggers),
            trigger_recall=_ratio(sums.hits, sums.due),
            silence_share=1 - (_ratio(sums.triggers, sums.stream_labels) or 0.0),
            learning_rate=learning_rate(self.stage, self.state.step - 1),
            grad_norm=norm,
            tokens=self.state.tokens,
            windows=self.state.windows,
            masked=int(sums.masked),
            tokens_per_second=tokens_per_second,
            mfu=sums.flops / max(sums.tokens, 1) * tokens_per_second / self.speed.peak,
            seconds=since,
        )


def learning_rate(stage: StageConfig, step: int) -> float:
    """Return the learning rate of step `step` (0-based): linear warm-up over `warmup_ratio` of the steps, then a cosine to 0."""
    warmup = round(stage.warmup_ratio * stage.steps)
    if step < warmup:
        return stage.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(stage.steps - warmup, 1)
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _claim(run: Path, record: RunRecord) -> IO[bytes]:
    """Create `run` or check that it is the same; return an open lock file, which keeps other processes out until it is closed."""
    path = run / "run.json"
    if path.is_file():
        old = RunRecord.from_json(path.read_bytes(), file=path)
        if old != record:
            before, now = old.model_dump(mode="json"), record.model_dump(mode="json")
            changed = [f"{name}: {before[name]} -> {now[name]}" for name in before if before[name] != now[name]]
            raise InputError(f"contains another run; {'; '.join(changed)}", file=run, remedy="Choose another directory with -o")
        return _locked(run)
    if run.is_dir() and any(entry.name != LOCK and not entry.name.startswith(TEMPORARY) for entry in run.iterdir()):
        raise InputError("is not empty and not a run directory", file=run, remedy="Choose another directory with -o")
    run.mkdir(parents=True, exist_ok=True)
    held = _locked(run)
    sweep_abandoned(run.glob(f"{TEMPORARY}*"))
    write_atomic(path, record.canonical_json())
    return held


def _locked(run: Path) -> IO[bytes]:
    file = (run / LOCK).open("wb")
    with contextlib.suppress(OSError):  # a file system without locks
        if not lock(file, wait=False):
            file.close()
            remedy = "Wait for it, or choose another directory with -o"
            raise InputError("another process is training here", file=run, remedy=remedy)
    return file


def _attention(stage: StageConfig, device: torch.device) -> dict[str, str]:
    """Return options for packed windows: variable-length kernels on a GPU; elsewhere a slow block-diagonal mask is enough."""
    if not stage.packing or device.type != "cuda":
        return {}
    if find_spec("flash_attn") is None:
        raise InputError("needs flash-attn on a GPU", field="packing", remedy="pip install flash-attn, or set packing: false")
    return {"attn_implementation": "flash_attention_2"}


def _checkpoint_activations(thinker: StreamingThinker, enabled: bool) -> None:
    thinker.checkpoint_audio = enabled
    if enabled:
        thinker.model.language_model.activation_checkpointing_enable({"use_reentrant": False})


def _empty_batch(thinker: StreamingThinker) -> Batch:
    """Return a batch without labels, for a process without windows in the last unit: all take part in every step."""
    rows = np.full((1, thinker.streaming.slots), AUDIO_ROW, dtype=np.int64)
    none = np.zeros(0, dtype=np.int64)
    mel = np.zeros((1, MELS, thinker.streaming.chunk_frames), dtype=np.float32)
    return Batch(rows, mel, none, none, none, none, windows=0)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
