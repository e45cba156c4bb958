"""What the speech chain made: one document per dialogue, spoken or discarded, and what a run came to (paper, B.4)."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue

from soundflow.schemas.base import Schema
from soundflow.schemas.clip import Sha256
from soundflow.schemas.speech import Dialogue, SpeechConfig, Voice, VoiceName


class Take(Schema):
    """One rendering of one turn, and what the gate said to it."""

    voice: VoiceName
    seed: int
    speed: float
    changed: tuple[str, ...] = ()
    """What is different from the take before: seed, speed, voice, draw. Empty for the first."""
    refused: str = ""
    """The gate's reason; empty when it passed."""
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    """See `operators.speech.gate.examine`."""
    made_by: dict[str, JsonValue] = Field(default_factory=dict)


class SpokenTurn(Schema):
    """One user turn."""

    text: str
    """What is said: the turn as the rewriter put it."""
    takes: tuple[Take, ...] = ()
    """In order; only the last can have passed."""
    audio: Sha256 | None = None
    """Of the WAV file of the take that passed; None when none did, or the dialogue was discarded."""
    samples: int = Field(0, ge=0)
    """Length of it at 16 kHz."""

    @property
    def wer(self) -> float | None:
        """Of the last take; None when it was not transcribed."""
        wer = self.takes[-1].metrics.get("wer") if self.takes else None
        return float(wer) if isinstance(wer, int | float) else None


class SpokenDialogue(Schema):
    """What became of one dialogue: the commit of it."""

    fingerprint: Sha256
    dialogue: Dialogue
    voice: VoiceName | None
    """Who speaks the user's side; None when nobody could."""
    turns: tuple[SpokenTurn, ...]
    """All of them; of a discarded dialogue those up to the one that was refused."""
    refused: str = ""
    """Why it was discarded: a reason of the gate, `no_voice`, `unspoken_language`, `llm_…`."""

    @property
    def spoken(self) -> bool:
        """Whether every turn passed."""
        return not self.refused


class SpeechRecord(Schema):
    """What a directory of spoken dialogues is made with."""

    fingerprint: Sha256
    """Over everything that shapes the speech: `config.shaping()`, the pool of voices, versions, the rewriter's prompt."""
    config: SpeechConfig
    voices: tuple[Voice, ...]
    """The pool V; their names are in the fingerprint."""
    versions: dict[str, str]


class VoiceTally(Schema):
    """How one voice fared. Word error rates are of the last take of each turn that was transcribed."""

    voice: VoiceName
    turns: int
    passed: int
    passed_first: int
    """At the first take."""
    wer: dict[str, float] = Field(default_factory=dict)
    """mean, p50, p95, max of what passed."""
    refused: dict[str, int] = Field(default_factory=dict)
    """Takes the gate refused, by reason."""


class SpeechSummary(Schema):
    """What a directory of spoken dialogues came to."""

    directory: str
    dialogues: int
    """In the input, good lines only."""
    spoken: int
    clips: int
    seconds: float
    rejected: dict[str, int]
    """Dialogues and lines, by reason; see rejected.jsonl."""
    failed: int
    """Dialogues that broke; the same command tries them again."""
    why_failed: str = ""
    """What broke the last of them in this run, such as a speech server that is down."""
    takes: int
    """Renderings made."""
    voices: tuple[VoiceTally, ...]
    fingerprint: Sha256

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return self.model_dump(mode="json")

    def lines(self) -> list[str]:
        """For people."""
        rejected = ", ".join(f"{count} {reason}" for reason, count in sorted(self.rejected.items()))
        failed = f", {self.failed} failed (run the same command again)" if self.failed else ""
        failed += f"; the last: {self.why_failed}" if self.why_failed else ""
        lines = [
            f"{self.directory}: {self.spoken} of {self.dialogues} dialogues spoken, {self.clips} clips,"
            f" {self.seconds / 60:.1f} min;"
            f" rejected {sum(self.rejected.values())}{f' ({rejected})' if rejected else ''}{failed}"
        ]
        for tally in self.voices:
            wer = " ".join(f"{name} {100 * value:.1f} %" for name, value in tally.wer.items())
            refused = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.refused.items()))
            lines.append(
                f"  {tally.voice}: {tally.passed}/{tally.turns} turns passed, {tally.passed_first} at once"
                f"{f'; WER {wer}' if wer else ''}{f'; takes refused: {refused}' if refused else ''}"
            )
        return lines
