"""The seven benchmarks by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soundflow.bench.suites.alpaca_eval import AlpacaEval
from soundflow.bench.suites.covost2 import Covost2
from soundflow.bench.suites.item import Benchmark
from soundflow.bench.suites.librispeech import LibriSpeech
from soundflow.bench.suites.mmau import Mmau
from soundflow.bench.suites.sd_qa import SdQa
from soundflow.bench.suites.short_answers import ShortAnswers
from soundflow.schemas.base import InputError
from soundflow.schemas.suggest import did_you_mean

ALL: Final[tuple[Benchmark, ...]] = (
    Mmau(),
    AlpacaEval(),
    SdQa(),
    ShortAnswers("llama-questions", "Llama Questions", "llama_questions", several=False),
    ShortAnswers("web-questions", "Web Questions", "web_questions", several=True),
    LibriSpeech(),
    Covost2(),
)
BENCHMARKS: Final[Mapping[str, Benchmark]] = MappingProxyType({one.name: one for one in ALL})


def benchmark(name: str) -> Benchmark:
    """Return a benchmark; raises InputError if the name is unknown."""
    if name not in BENCHMARKS:
        remedy = f"{did_you_mean(name, BENCHMARKS)} Benchmarks: {', '.join(BENCHMARKS)}".strip()
        raise InputError("unknown benchmark", value=name, remedy=remedy)
    return BENCHMARKS[name]
