"""A directory of spoken dialogues.

    DIR/speech.json                  config, voices, versions, and their fingerprint
    DIR/dialogues/ab/<key>.json      the commit of one dialogue, spoken or rejected; the first commit wins
    DIR/audio/ab/<sha256>.wav        one user turn as rendered, 16 kHz PCM16
    DIR/spent.json                   cost of the rewriter's language model over all runs
    DIR/paces/<voice>.json           duration statistics of a voice, measured once
    DIR/manifest.jsonl               every clip of the dialogues of the last run; a source for `soundflow clips index`
    DIR/rejected.jsonl               rejected dialogues and bad lines, with reason, word error rate and takes
    DIR/summary.json                 counts per voice
    DIR/rejected/<take>.wav, .json   takes that the gate rejected, with their texts and metrics (`keep_rejected`)

A run writes manifest, rejections and summary at its end, from the committed dialogues, in the order of the input.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from soundflow.backends.tts.speakers import MORE_VOICES
from soundflow.operators.clean.clip_cache import to_wav
from soundflow.operators.speech.chain import RenderedDialogue
from soundflow.operators.speech.pronunciation import Pronunciations
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import write_file, write_if_absent
from soundflow.pipeline.speech.dialogue_lines import Line
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.licences import AND, UNKNOWN, licence_id
from soundflow.schemas.speech import Dialogue, Pace
from soundflow.schemas.spoken import SpeechRecord, SpeechSummary, SpokenDialogue, SpokenTurn, VoiceTally

WAV_HEADER: Final = 44
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]|^\.")


class SpeechDir:
    """Paths and contents of the directory. Writers may race; the first commit wins."""

    def __init__(self, root: Path):
        self.root = root
        self.build = BuildDir(root)
        self.record_path = root / "speech.json"
        self.manifest_path, self.rejected_path = root / "manifest.jsonl", root / "rejected.jsonl"
        self.summary_path = root / "summary.json"
        self.spent_path = root / "spent.json"

    def record(self) -> SpeechRecord:
        """Return the record of the directory. Raises InputError when it has none."""
        try:
            return SpeechRecord.from_json(self.record_path.read_bytes(), file=self.record_path)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError("is not a directory of spoken dialogues (no speech.json)", file=self.root) from None

    def path_of(self, fingerprint: str, dialogue: Dialogue) -> Path:
        """Return the path of the commit of a dialogue; it depends on all of the dialogue and on the fingerprint."""
        key = hashlib.sha256(canonical_json([fingerprint, dialogue.model_dump(mode="json")])).hexdigest()
        return self.root / "dialogues" / key[:2] / f"{key[:32]}.json"

    def audio_path(self, content: str) -> Path:
        """Return the path of a clip by the SHA-256 of its WAV file."""
        return self.root / "audio" / content[:2] / f"{content}.wav"

    def committed(self, fingerprint: str, dialogue: Dialogue) -> SpokenDialogue | None:
        """Return the committed result of a dialogue; None if there is none, or if it or its audio is damaged."""
        path = self.path_of(fingerprint, dialogue)
        try:
            found = SpokenDialogue.from_json(path.read_bytes(), file=path)
            sizes = [
                self.audio_path(turn.audio).stat().st_size == WAV_HEADER + 2 * turn.samples for turn in found.turns if turn.audio
            ]
        except (InputError, OSError):
            return None
        return found if all(sizes) and (found.fingerprint, found.dialogue) == (fingerprint, dialogue) else None

    def commit(self, fingerprint: str, dialogue: Dialogue, rendered: RenderedDialogue) -> SpokenDialogue:
        """Commit a dialogue, without audio if it was rejected. Return the first commit, which may be that of another run."""
        turns = []
        for turn in rendered.turns:
            audio: dict[str, Any] = {"audio": None, "samples": 0}
            if turn.samples is not None and not rendered.refused:
                wav = to_wav(turn.samples)
                content = hashlib.sha256(wav).hexdigest()
                write_file(self.build, self.audio_path(content), wav)
                audio = {"audio": content, "samples": turn.samples.size}
            turns.append(SpokenTurn.model_validate({"text": turn.text, "takes": turn.takes, **audio}))
        made = SpokenDialogue(
            fingerprint=fingerprint,
            dialogue=dialogue,
            voice=rendered.voice.name if rendered.voice else None,
            turns=tuple(turns),
            refused=rendered.refused,
        )
        path = self.path_of(fingerprint, dialogue)
        if not write_if_absent(self.build, path, made.canonical_json()):
            found = self.committed(fingerprint, dialogue)
            if found is not None:
                return found
            write_file(self.build, path, made.canonical_json())  # the existing commit or its audio is damaged
        return made

    def keep_rejected(
        self, fingerprint: str, dialogue: Dialogue, rendered: RenderedDialogue, pronunciations: Pronunciations
    ) -> None:
        """Keep the rejected takes of a dialogue: each as WAV file, and beside it a JSON file with texts, reason and metrics."""
        for number, turn in enumerate(rendered.turns):
            for place, (take, samples) in enumerate(zip(turn.takes, turn.rejected, strict=False)):
                path = self.rejected_take_path(fingerprint, dialogue, number, place, take.refused)
                document = {
                    "dialogue": dialogue.id,
                    "turn": number,
                    "take": place,
                    "reason": take.refused,
                    "written": dialogue.turns[number].user,
                    "text": turn.text,
                    "spoken": pronunciations.respell(turn.text, dialogue.language),
                    "transcript": take.metrics.get("transcript", ""),
                    **take.model_dump(mode="json", exclude={"refused"}),
                }
                write_file(self.build, path, to_wav(samples))
                write_file(self.build, path.with_suffix(".json"), canonical_json(document) + b"\n")

    def rejected_take_path(self, fingerprint: str, dialogue: Dialogue, turn: int, take: int, reason: str) -> Path:
        """Return the path of a kept take. The name begins with the dialogue's id, as far as every file system takes it."""
        key = self.path_of(fingerprint, dialogue).stem[:8]
        name = _UNSAFE.sub("_", dialogue.id)[:60]
        return self.root / "rejected" / f"{name}-{key}-turn{turn}-take{take}-{reason}.wav"

    def pace(self, voice: str) -> Pace | None:
        """Return the stored measurement of a voice, or None."""
        path = self._pace_path(voice)
        try:
            return Pace.from_json(path.read_bytes(), file=path)
        except (InputError, OSError):
            return None

    def keep_pace(self, pace: Pace) -> Pace:
        """Store a measurement. Return the first one, which may be that of another run."""
        path = self._pace_path(pace.voice)
        if not write_if_absent(self.build, path, pace.canonical_json()):
            found = self.pace(pace.voice)
            if found is not None:
                return found
            write_file(self.build, path, pace.canonical_json())
        return pace

    def _pace_path(self, voice: str) -> Path:
        return self.root / "paces" / f"{quote(voice, safe='')}.json"


def write_outputs(
    directory: SpeechDir,
    record: SpeechRecord,
    lines: Iterable[Line],
    why_failed: str = "",
    thoughts: Mapping[str, int] | None = None,
) -> SpeechSummary:
    """Write manifest, list of rejections and summary of the dialogues in `lines` from their commits.

    `why_failed`: see `SpeechSummary`. `thoughts`: answers with thoughts, counted while `lines` are read.
    """
    outputs = _Outputs(directory, record)
    rows = directory.manifest_path
    write_atomic(rows, (canonical_json(row) + b"\n" for row in outputs.rows(record.fingerprint, lines)))
    write_atomic(directory.rejected_path, (canonical_json(row) + b"\n" for row in outputs.rejections))
    summary = outputs.summary(record.fingerprint).model_copy(
        update={"why_failed": why_failed, "thoughts": sum((thoughts or {}).values())}
    )
    write_atomic(directory.summary_path, summary.canonical_json() + b"\n")
    return summary


class _Outputs:
    """Makes the rows of the outputs and counts them."""

    def __init__(self, directory: SpeechDir, record: SpeechRecord):
        self.directory = directory
        self.credits = {voice.name: f"voice: {voice.attribution or voice.name} ({voice.licence})" for voice in record.voices}
        self.licences = {voice.name: voice.licence for voice in record.voices}
        self.rejections: list[dict[str, Any]] = []
        self.rejected: Counter[str] = Counter()
        self.dialogues = self.failed = self.spoken = self.clips = self.samples = self.takes = 0
        self._voices: dict[str, _VoiceCounts] = {}

    def rows(self, fingerprint: str, lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the clip manifest."""
        for number, line in lines:
            if isinstance(line, str):
                reason, _, detail = line.partition(": ")
                self._reject(reason, {"line": number, "detail": detail})
                continue
            self.dialogues += 1
            found = self.directory.committed(fingerprint, line)
            if found is None:
                self.failed += 1
                continue
            self._count(found)
            if found.refused:
                row = {"line": number, **self._rejection(found)}
                if found.refused == "no_voice":
                    row["detail"] = f"no voice speaks {line.language} (available: {', '.join(self.credits)}). {MORE_VOICES}"
                self._reject(found.refused, row)
                continue
            self.spoken += 1
            for turn, spoken in enumerate(found.turns):
                self.clips += 1
                self.samples += spoken.samples
                yield self._row(found, turn, spoken)

    def _row(self, found: SpokenDialogue, number: int, turn: SpokenTurn) -> dict[str, Any]:
        dialogue = found.dialogue
        assert turn.audio is not None
        row = {
            "id": f"{dialogue.id}/{number:03d}",
            "path": str(self.directory.audio_path(turn.audio).relative_to(self.directory.root)),
            "role": "foreground",
            "label": dialogue.turns[number].label or dialogue.label,
            "caption": f"a synthetic voice, {found.voice}",
            "transcript": turn.text,
            "reply": dialogue.turns[number].assistant,
            "translation": dialogue.turns[number].translation,
            "translation_language": dialogue.translation_language if dialogue.turns[number].translation else "",
            "emotion": dialogue.turns[number].emotion,
            "language": dialogue.language,
            "dialogue": dialogue.id,
            "turn": number,
            "voice": found.voice,
            "wer": turn.wer,
            "licence": speech_licence(dialogue.licence, self.licences.get(found.voice or "", UNKNOWN)),
            "attribution": "; ".join(part for part in (dialogue.attribution, self.credits.get(found.voice or "", "")) if part),
            "source": dialogue.source,
            "split": dialogue.split,
        }
        return {name: value for name, value in row.items() if value not in ("", None)}

    def _count(self, found: SpokenDialogue) -> None:
        if found.voice is None:
            return
        voice = self._voices.setdefault(found.voice, _VoiceCounts())
        for turn in found.turns:
            self.takes += len(turn.takes)
            voice.refused.update(take.refused for take in turn.takes if take.refused)
            voice.turns += bool(turn.takes)
            if turn.takes and not turn.takes[-1].refused:
                voice.passed += 1
                voice.passed_first += len(turn.takes) == 1
                voice.wer.append(turn.wer or 0.0)

    def _rejection(self, found: SpokenDialogue) -> dict[str, Any]:
        """Return the fields of the row of a rejected dialogue. `audio` of a take is its file, if it was kept."""
        row: dict[str, Any] = {"dialogue": found.dialogue.id, "voice": found.voice}
        if found.turns:
            turn, last = len(found.turns) - 1, found.turns[-1]
            row |= {"turn": turn, "text": last.text, "takes": len(last.takes)}
            row["tried"] = []
            for place, take in enumerate(last.takes):
                path = self.directory.rejected_take_path(found.fingerprint, found.dialogue, turn, place, take.refused)
                kept = {"audio": str(path.relative_to(self.directory.root))} if path.is_file() else {}
                row["tried"].append({"refused": take.refused, "changed": list(take.changed), **take.metrics, **kept})
        return row

    def _reject(self, reason: str, row: dict[str, Any]) -> None:
        self.rejected[reason] += 1
        self.rejections.append({"reason": reason, **row})

    def summary(self, fingerprint: str) -> SpeechSummary:
        """Return the summary of all rows so far."""
        return SpeechSummary(
            directory=str(self.directory.root),
            dialogues=self.dialogues,
            spoken=self.spoken,
            clips=self.clips,
            seconds=round(self.samples / c.SAMPLE_RATE, 3),
            rejected=dict(sorted(self.rejected.items())),
            failed=self.failed,
            takes=self.takes,
            voices=tuple(voice.tally(name) for name, voice in sorted(self._voices.items())),
            fingerprint=fingerprint,
        )


def speech_licence(text: str, voice: str) -> str:
    """Return the licence of speech: that of its text, if another's, and that of its voice."""
    return AND.join(dict.fromkeys(licence_id(licence) for licence in (text, voice) if licence)) or UNKNOWN


class _VoiceCounts:
    """Counts of one voice."""

    def __init__(self) -> None:
        self.turns = self.passed = self.passed_first = 0
        self.wer: list[float] = []
        self.refused: Counter[str] = Counter()

    def tally(self, name: str) -> VoiceTally:
        return VoiceTally(
            voice=name,
            turns=self.turns,
            passed=self.passed,
            passed_first=self.passed_first,
            wer=distribution(self.wer),
            refused=dict(sorted(self.refused.items())),
        )


def distribution(values: list[float]) -> dict[str, float]:
    """Return mean, p50, p95 and max; empty for no values."""
    if not values:
        return {}
    statistics: dict[str, Any] = {
        "mean": np.mean(values),
        "p50": np.percentile(values, 50),
        "p95": np.percentile(values, 95),
        "max": max(values),
    }
    return {name: round(float(value), 4) for name, value in statistics.items()}
