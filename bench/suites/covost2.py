"""CoVoST 2 (Wang et al. 2021): speech translation, English to Chinese and Chinese to English.

Files: parquet files {id, sentence, translation, audio} in folders `en_zh-CN` and `zh-CN_en`, or the published
`covost_v2.en_zh-CN.test.tsv` {path, sentence, translation} (only the split `test`, if there is such a column) with `clips/`.
Metric: corpus BLEU of sacrebleu, with the tokenizers `zh` for Chinese and `13a` for English. A missing translation is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from soundflow.bench.harness.rows import Row
from soundflow.bench.suites.item import (
    Figures,
    Item,
    ItemPrompt,
    Mode,
    Spoken,
    find_files,
    numbered_rows,
    recording_of,
    unique_items,
)
from soundflow.schemas.base import InputError, missing_library

DIRECTIONS = MappingProxyType({"en-zh": ("en_zh-CN", "en_zh"), "zh-en": ("zh-CN_en", "zh_en")})
"""Direction → its names in folders and files."""
INTO = MappingProxyType({"en-zh": "Chinese", "zh-en": "English"})


class Covost2:
    """CoVoST 2 between English and Chinese."""

    name, title = "covost2", "CoVoST 2"
    mode = Mode.TEXT
    rubric = ""

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """See `Benchmark.read`."""
        return unique_items(_items(find_files(source, ".tsv", ".parquet"), audio), source)

    def prompt(self, item: Item, mode: Mode) -> ItemPrompt:
        """Return the instruction, written or spoken before the recording."""
        text = f"Translate the speech into {INTO[item.group]}. Answer with the translation only."
        return ItemPrompt(
            text, (item.recording,) if mode is Mode.TEXT else (Spoken(f"Translate into {INTO[item.group]}."), item.recording)
        )

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Return the BLEU of each direction."""
        values: dict[str, float | None] = {}
        for direction in DIRECTIONS:
            group = [item for item in items if item.group == direction]
            hypotheses = [answers.get(item.id, "") for item in group]
            values[direction] = bleu([item.references[0] for item in group], hypotheses, direction) if group else None
        return Figures(values, len(items), sum(item.id not in answers for item in items))


def bleu(references: Sequence[str], hypotheses: Sequence[str], direction: str) -> float:
    """Return the corpus BLEU of one direction."""
    try:
        import sacrebleu
    except ImportError:
        raise missing_library("sacrebleu", "benchmarks") from None
    tokenize = "zh" if direction == "en-zh" else "13a"
    return float(sacrebleu.corpus_bleu(list(hypotheses), [list(references)], tokenize=tokenize).score)


def _items(paths: Sequence[Path], audio: Path | None) -> Iterator[tuple[Item, Row]]:
    for path in paths:
        direction = _direction(path)
        for number, row in numbered_rows([path], ("id", "file", "path", "sentence", "translation", "split")):
            if row.values.get("split") not in (None, "test"):
                continue
            recording = recording_of(row, number, audio, ("clips", "."), "path", "file")
            name = f"{direction}/{row.text('id', 'path', 'file')}"
            sentence = row.text("sentence") if row.has("sentence") else ""
            yield Item(name, sentence, (row.text("translation"),), recording, row.where, direction), row


def _direction(path: Path) -> str:
    for part in reversed(path.parts):
        for direction, names in DIRECTIONS.items():
            if any(name in part for name in names):
                return direction
    remedy = "Keep the published names: put the file into a folder named en_zh-CN or zh-CN_en"
    raise InputError("the path does not contain a direction", file=path, remedy=remedy)
