"""Results of speech synthesis (paper, B.4): one document per dialogue, spoken or discarded, and the summary of a run."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue

from soundflow.schemas.base import Schema
from soundflow.schemas.clip import Sha256
from soundflow.schemas.speech import Dialogue, SpeechConfig, Voice, VoiceName


class Take(Schema):
    """One rendering of a turn, with the outcome of the gate."""

    voice: VoiceName
    seed: int
    speed: float
    changed: tuple[str, ...] = ()
    """Differences from the previous take: seed, speed, voice, draw. Empty for the first take."""
    refused: str = ""
    """Reason of the gate for rejecting the take; empty if it passed."""
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    """See `operators.speech.gate.examine`."""
    made_by: dict[str, JsonValue] = Field(default_factory=dict)


class SpokenTurn(Schema):
    """A spoken turn of the user."""

    text: str
    """Spoken text: the output of the rewriter."""
    takes: tuple[Take, ...] = ()
    """Takes in order; only the last one can have passed."""
    audio: Sha256 | None = None
    """Digest of the WAV file of the take that passed; None if none passed or the dialogue was discarded."""
    samples: int = Field(0, ge=0)
    """Length of the audio at 16 kHz."""

    @property
    def wer(self) -> float | None:
        """Word error rate of the last take; None if it was not transcribed."""
        wer = self.takes[-1].metrics.get("wer") if self.takes else None
        return float(wer) if isinstance(wer, int | float) else None


class SpokenDialogue(Schema):
    """The result of one dialogue, spoken or discarded. The document is its commit."""

    fingerprint: Sha256
    dialogue: Dialogue
    voice: VoiceName | None
    """Voice of the user; None if no voice fits."""
    turns: tuple[SpokenTurn, ...]
    """All turns; of a discarded dialogue, the turns up to the rejected one."""
    refused: str = ""
    """Reason for discarding the dialogue: a reason of the gate, `no_voice`, `unspoken_language` or `llm_…`."""

    @property
    def spoken(self) -> bool:
        """Whether every turn passed."""
        return not self.refused


class SpeechRecord(Schema):
    """Configuration and versions of a directory of spoken dialogues."""

    fingerprint: Sha256
    """Hash of everything that shapes the speech: `config.shaping()`, the pool of voices, versions, the prompt of the rewriter."""
    config: SpeechConfig
    voices: tuple[Voice, ...]
    """The pool V. The names are part of the fingerprint."""
    versions: dict[str, str]


class VoiceTally(Schema):
    """Counts of one voice. Word error rates are those of the last transcribed take of each turn."""

    voice: VoiceName
    turns: int
    passed: int
    passed_first: int
    """Turns whose first take passed."""
    wer: dict[str, float] = Field(default_factory=dict)
    """mean, p50, p95 and max over the takes that passed."""
    refused: dict[str, int] = Field(default_factory=dict)
    """Rejected takes, by reason."""


class SpeechSummary(Schema):
    """Summary of a directory of spoken dialogues."""

    directory: str
    dialogues: int
    """Valid dialogues in the input."""
    spoken: int
    clips: int
    seconds: float
    rejected: dict[str, int]
    """Rejected dialogues and lines, by reason; rejected.jsonl lists them."""
    failed: int
    """Dialogues that failed; running the same command again retries them."""
    why_failed: str = ""
    """Error of the last failed dialogue of this run, such as an unreachable speech server."""
    thoughts: int = 0
    """Answers in the input that contained thoughts of a reasoning model, which are left out."""
    takes: int
    """Number of renderings."""
    voices: tuple[VoiceTally, ...]
    fingerprint: Sha256

    def to_json(self) -> dict[str, Any]:
        """Return the output of `--json`."""
        return self.model_dump(mode="json")

    def lines(self) -> list[str]:
        """Return the output for a terminal."""
        rejected = ", ".join(f"{count} {reason}" for reason, count in sorted(self.rejected.items()))
        failed = f", {self.failed} failed (run the same command again)" if self.failed else ""
        failed += f"; last error: {self.why_failed}" if self.why_failed else ""
        lines = [
            f"{self.directory}: {self.spoken} of {self.dialogues} dialogues spoken, {self.clips} clips,"
            f" {self.seconds / 60:.1f} min;"
            f" rejected {sum(self.rejected.values())}{f' ({rejected})' if rejected else ''}{failed}"
        ]
        if self.thoughts:
            lines.append(f"  answers with thoughts of a reasoning model, which are left out: {self.thoughts}")
        for tally in self.voices:
            wer = " ".join(f"{name} {100 * value:.1f} %" for name, value in tally.wer.items())
            refused = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.refused.items()))
            lines.append(
                f"  {tally.voice}: {tally.passed}/{tally.turns} turns passed, {tally.passed_first} with the first take"
                f"{f'; WER {wer}' if wer else ''}{f'; rejected takes: {refused}' if refused else ''}"
            )
        return lines
