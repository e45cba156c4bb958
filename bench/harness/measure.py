"""Shared parts of the timing benchmarks: interleaved medians, ratios with limits, the machine, a table and a JSON file.

A benchmark is a module run as `python -m soundflow.bench.<folder>.<name> [--json OUT] [--runs N]`:

    from soundflow.bench.harness import measure as bench

    def main(argv=None):
        args = bench.parse_arguments("speed.mixing", argv)          # .json: Path | None, .runs: int
        peer = bench.import_peer("scaper")                          # the module, or None if it is not installed
        timing = bench.compare("mixing", {"ours": f, "peer": g}, runs=args.runs)
        #   {"name", "runs", "medians": {"ours": seconds, ...}, "spreads": {...}}; candidates take turns in each run
        ratios = [bench.Ratio("x scaper", timing["medians"]["peer"] / timing["medians"]["ours"], at_least=15.0)]
        return bench.finish("mixing", ratios, timing["medians"], versions=["numpy", "scaper"], missing=["scaper"],
                            json_path=args.json, notes={"seconds_of_audio": 60.0})

    if __name__ == "__main__":
        raise SystemExit(main())

`finish` prints the table, writes {name, ratios, limits, medians, machine, versions, missing, notes, ok} and returns the
exit code: 0 if every ratio meets its limit, else 1. A ratio that could not be measured has the value None, is printed as
"not measured" and does not fail the run; `missing` names the peers that are not installed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

INSTALL_HINT = "pip install -e '.[bench]'"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A measured ratio and its limit; `value` is None if it could not be measured."""

    name: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the limit is met; true for a ratio that was not measured."""
        if self.value is None:
            return True
        return (self.at_least is None or self.value >= self.at_least) and (self.at_most is None or self.value <= self.at_most)

    @property
    def limit(self) -> str:
        """The limit as text."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else "-"


@dataclass(frozen=True, slots=True)
class Part:
    """Results of one part of a benchmark that has several parts."""

    ratios: tuple[Ratio, ...]
    medians: Mapping[str, float]
    """Candidate → seconds."""
    notes: Mapping[str, Any] = field(default_factory=dict)


def quantile(seconds: Sequence[float], share: float) -> float:
    """Return the empirical quantile of measurements at `share` (0 to 1)."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device` and `--dtype`, whose values `Placement.of` resolves."""
    parser.add_argument("--device", default="auto", help="Device of the model: auto, cpu, cuda or cuda:N (default auto).")
    parser.add_argument("--dtype", default="auto", help="Type of the weights: auto, fp32 or bf16 (default auto).")


def make_parser(name: str, runs: int = 5, runs_help: str = "") -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark, `--json OUT` and `--runs N`. `name` is `<folder>.<module>`."""
    runs_help = runs_help or f"Number of interleaved runs (default {runs})."
    description = f"Run the benchmark {name} and print its ratios with their limits."
    parser = argparse.ArgumentParser(prog=f"python -m soundflow.bench.{name}", description=description)
    parser.add_argument("--json", type=Path, metavar="OUT", help="Also write the result to this JSON file (default: none).")
    parser.add_argument("--runs", type=int, default=runs, metavar="N", help=runs_help)
    return parser


def parse_arguments(name: str, argv: Sequence[str] | None = None, runs: int = 5) -> argparse.Namespace:
    """Parse the options of a benchmark that has no others."""
    return make_parser(name, runs).parse_args(argv)


def import_peer(module: str) -> ModuleType | None:
    """Import a peer. If it is missing or broken, print how to install it and return None."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken peer must not hide the other ratios
        print(f"peer {module} cannot be imported ({type(error).__name__}: {error}). Install it: {INSTALL_HINT}")
        return None


def compare(name: str, candidates: Mapping[str, Callable[[], object]], runs: int = 5, warmup: int = 1) -> dict[str, Any]:
    """Time candidates in turns (run 1 of each, run 2 of each, …), so that load on the machine affects all of them.

    Returns {"name", "runs", "medians": {candidate: seconds}, "spreads": {candidate: (fastest, slowest)}} of wall times. The
    garbage collector is off during calls. Every second run is in reverse order.
    """
    for _ in range(warmup):
        for call in candidates.values():
            call()
    taken: dict[str, list[float]] = {label: [] for label in candidates}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for run in range(runs):
            for label, call in list(candidates.items())[:: -1 if run % 2 else 1]:
                begin = time.perf_counter()
                call()
                taken[label].append(time.perf_counter() - begin)
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return {
        "name": name,
        "runs": runs,
        "medians": {label: statistics.median(times) for label, times in taken.items()},
        "spreads": {label: (min(times), max(times)) for label, times in taken.items()},
    }


def machine() -> dict[str, Any]:
    """Describe the machine the figures were measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def versions_of(distributions: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of distributions; "not installed" for absent ones."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def finish(
    name: str,
    ratios: Sequence[Ratio],
    medians: Mapping[str, float],
    *,
    versions: Sequence[str] = (),
    missing: Sequence[str] = (),
    json_path: Path | None = None,
    notes: Mapping[str, Any] | None = None,
) -> int:
    """Print the table, write the JSON file and return the exit code. `missing` names the peers that are not installed."""
    rows = [(f"{label}", f"{1000 * seconds:.2f} ms", "", "") for label, seconds in medians.items()]
    for ratio in ratios:
        shown = "not measured" if ratio.value is None else f"{ratio.value:.2f}"
        rows.append((ratio.name, shown, ratio.limit, "" if ratio.value is None else "ok" if ratio.ok else "MISSED"))
    widths = [max(len(row[column]) for row in [*rows, (name, "", "", "")]) for column in range(4)]
    print(name)
    for row in rows:
        print(f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}".rstrip())
    for label in missing:
        print(f"  {label} is not installed. Install it: {INSTALL_HINT}")
    for key, value in (notes or {}).items():
        print(f"  {key}: {value}")
    ok = all(ratio.ok for ratio in ratios)
    if json_path is not None:
        result = {
            "name": name,
            "ratios": {ratio.name: ratio.value for ratio in ratios},
            "limits": {ratio.name: ratio.limit for ratio in ratios},
            "medians": dict(medians),
            "machine": machine(),
            "versions": versions_of(versions),
            "missing": list(missing),
            "notes": dict(notes or {}),
            "ok": ok,
        }
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if ok else 1


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
