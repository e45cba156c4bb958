"""`soundflow tfjp`: clean one recording, write it, and report what each operator changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from soundflow.operators.clean.ingress import read_audio
from soundflow.operators.clean.tfjp import SilentClipError, TfjpResult, tfjp
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import IngressConfig, TfjpConfig
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.pcm16 import to_pcm16


@dataclass(frozen=True, slots=True)
class CleanedFile:
    """Result of cleaning one recording."""

    source: Path
    out: Path
    result: TfjpResult

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints. Times are in seconds unless the name has another unit."""
        cleaning = self.result.cleaning
        return {
            "in_seconds": cleaning.in_samples / c.SAMPLE_RATE,
            "out_seconds": cleaning.out_samples / c.SAMPLE_RATE,
            "cut_ms": cleaning.cut_ms,
            "denoised": cleaning.denoised,
            "span": list(cleaning.span),
            "passes": cleaning.passes,
            "converged": cleaning.converged,
        }

    def trace_json(self) -> list[dict[str, Any]]:
        """Return the steps of all operators."""
        return [{"operator": step.operator, "pass": step.number, **step.facts} for step in self.result.trace]

    def describe(self) -> str:
        """Return the line that is printed on the terminal."""
        cleaning = self.result.cleaning
        before, after = cleaning.in_samples / c.SAMPLE_RATE, cleaning.out_samples / c.SAMPLE_RATE
        noise = "noise not measurable" if cleaning.noise_floor_db is None else f"noise at {cleaning.noise_floor_db:.1f} dBFS"
        parts = [
            f"{before:.2f} s -> {after:.2f} s",
            f"{cleaning.cut_ms:.0f} ms of silence cut",
            f"{noise}{' subtracted' if cleaning.denoised else ', not denoised'}",
            f"kept {cleaning.span[0]:.2f}-{cleaning.span[1]:.2f} s",
            f"{cleaning.passes} pass{'' if cleaning.passes == 1 else 'es'}{'' if cleaning.converged else ', did not converge'}",
        ]
        return f"{self.source} -> {self.out}: {', '.join(parts)}"

    def trace_lines(self) -> list[str]:
        """Return a line for each step."""
        return [f"  pass {step.number}: {step.operator:<14} {_formatted(step.facts)}" for step in self.result.trace]


def _formatted(facts: Mapping[str, float | int | bool]) -> str:
    return ", ".join(f"{name} {value:.4g}" if type(value) is float else f"{name} {value}" for name, value in facts.items())


def clean_file(source: Path, out: Path, *, denoise: bool = True, plot: Path | None = None) -> CleanedFile:
    """Clean the recording `source` with TFJP and write it to `out` (16 kHz mono, in the format of its suffix).

    `plot`: also write a figure of the steps. Raises InputError with the file and the reason when a file cannot be read, cleaned
    or written.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise InputError("is the recording itself", file=out, remedy="Choose another OUT; recordings are never overwritten")
    for path in (out, *([] if plot is None else [plot])):
        if not path.absolute().parent.is_dir():
            raise InputError("cannot be written: the folder does not exist", file=path, remedy="Create the folder first")
    if plot is not None and plot.suffix not in (".png", ".pdf", ".svg"):
        raise InputError("does not have the suffix of an image format", file=plot, remedy="Use .png, .pdf or .svg")
    outcome = read_audio(source, IngressConfig())
    if isinstance(outcome, Rejected):
        detail = ", ".join(f"{name} {value}" for name, value in outcome.metrics.items())
        raise InputError(f"cannot be cleaned: {outcome.reason}{': ' + detail if detail else ''}", file=source)
    assert isinstance(outcome, Ok)
    samples = outcome.value.samples
    try:
        result = tfjp(samples, TfjpConfig(denoise=denoise))
    except SilentClipError as error:
        raise InputError(f"cannot be cleaned: silent: {error}", file=source) from None
    kind = out.suffix.lstrip(".").upper()
    if kind not in soundfile.available_formats():
        known = ", ".join(sorted(name.lower() for name in soundfile.available_formats()))
        raise InputError("does not have the suffix of an audio format", file=out, remedy=f"Use one of: {known}")
    try:
        soundfile.write(out, to_pcm16(result.samples), c.SAMPLE_RATE, format=kind)
        if plot is not None:
            from soundflow.operators.clean.tfjp_plot import plot_tfjp

            plot_tfjp(samples, result, plot)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"cannot be written: {error}", file=out) from None
    return CleanedFile(source, out, result)
