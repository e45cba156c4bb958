"""What server and client say to each other over a WebSocket: binary PCM16 in, JSON events out.

Client → server: binary messages, little-endian PCM16 mono at 16 kHz, any even number of bytes; text messages are JSON:
`{"type": "session.close"}`, `{"type": "response.cancel"}` (barge-in: what is being said ends here).

Session options are query parameters of the URL: `instruction`, `threshold`, `drain` (chunks read at once at most; with 1 nothing
depends on when audio comes), `longest` (text tokens of a response), `remember` (text tokens of what was said before the window
that the model still reads; 0), `speak=1` (audio too, where the server has a voice), `session` to resume.

Server → client, `type` as in OpenAI's Realtime API where it fits:

| type | fields |
|---|---|
| `session.created`, `session.resumed` | `session` {id, chunk_ms, sample_rate, instruction, speaks}, `missed`: events lost |
| `chunk.silent` | chunk, probability, latency_ms (chunk's last sample received → decided), queue |
| `response.created` | the same fields, and called_by, called_with: the chunk that called for it, its probability |
| `response.output_text.delta` | chunk, delta |
| `response.done` | chunk, text, cut |
| `response.output_audio.delta` | chunk, delta: base64 of PCM16 mono at 16 kHz, half a second at most |
| `response.output_audio.done` | chunk, stopped: what was not played yet is not to be |
| `session.reanchored` | chunk: the oldest still remembered |
| `session.restarted` | died: which process; the memory is empty; lost: chunks that will never be decided |
| `input_audio.dropped` | chunks |
| `error` | code, message; the server closes the connection after a fatal one |

Every event has `sequence` (1, 2, 3 … in the session) and `time` (seconds since the session began).
"""

from __future__ import annotations

from typing import Any, Final

SAMPLE_RATE: Final = 16_000
MAX_MESSAGE: Final = 64 * 1024
"""Bytes of one message: two seconds of audio."""
BUFFERED_EVENTS: Final = 4096
"""Events kept for a client that is slow or comes back."""
RESUME_SECONDS: Final = 30.0
"""How long a session waits for its client."""
BURST_SECONDS: Final = 30.0
"""Audio a client may send ahead of time; after that a second of audio a second."""
MOST_WAITING: Final = 40
"""Events a client may leave waiting and still be sent audio."""
LONGEST_INSTRUCTION: Final = 4000
"""Characters."""
LONGEST_INSTRUCTION_TOKENS: Final = 1024
"""A quarter of the context: one that fills it has the cache rebuilt at every chunk, and the other sessions wait for that."""
LONGEST_LINE: Final = 64 * 1024
"""Bytes of a request's first line, which has the instruction, a character of it in up to 12."""

BAD_AUDIO: Final = "bad_audio"
BAD_MESSAGE: Final = "bad_message"
TOO_FAST: Final = "too_fast"
FULL: Final = "server_full"
BAD_REQUEST: Final = "bad_request"
UNAUTHORISED: Final = "unauthorised"
SPEECH_FAILED: Final = "speech_failed"
"""Not fatal: the text is there."""
TAKEN_OVER: Final = "taken_over"
"""The session goes on with a newer connection."""
IDLE: Final = "idle"
UNKNOWN_SESSION: Final = "unknown_session"


class Translator:
    """Engine events to protocol events; remembers the text of the open response."""

    def __init__(self) -> None:
        self._text = ""

    def translate(self, event: dict[str, Any], queue: int) -> dict[str, Any]:
        """One event, without sequence and time."""
        match event["kind"]:
            case "silent" | "response":
                self._text = ""
                latency = round(1000 * (event["time"] - event["arrived"]), 1)
                kind = "chunk.silent" if event["kind"] == "silent" else "response.created"
                chance = round(event["probability"], 4)
                told = {"type": kind, "chunk": event["chunk"], "probability": chance, "latency_ms": latency, "queue": queue}
                if event["kind"] == "response":
                    told |= {"called_by": event["called_by"], "called_with": round(event["called_with"], 4)}
                return told
            case "token":
                self._text += event["text"]
                return {"type": "response.output_text.delta", "chunk": event["chunk"], "delta": event["text"]}
            case "eos":
                text = self._text + event["text"]
                return {"type": "response.done", "chunk": event["chunk"], "text": text, "cut": event["cut"]}
            case "reanchored":
                return {"type": "session.reanchored", "chunk": event["chunk"]}
            case "restarted":
                self._text = ""
                return {"type": "session.restarted", "died": event["died"], "chunk": event["chunk"], "lost": event["lost"]}
            case "dropped":
                return {"type": "input_audio.dropped", "chunks": event["chunks"]}
        raise ValueError(f"no such event: {event['kind']}")


def error(code: str, message: str) -> dict[str, Any]:
    """An error event."""
    return {"type": "error", "error": {"code": code, "message": message}}
