"""The WebSocket protocol: binary PCM16 in, JSON events out. The events are defined in `streaming.events`.

Client → server: binary messages hold little-endian PCM16, mono, 16 kHz, any even number of bytes. Text messages are JSON:
`{"type": "session.close"}` ends the session, `{"type": "response.cancel"}` ends the open response (barge-in).

Query parameters of the URL set the options of a session:

| parameter | meaning |
|---|---|
| `instruction` | text the model reads first |
| `threshold` | probability of <response> from which a response opens |
| `drain` | maximum chunks read at once; with 1 nothing depends on when audio arrives |
| `longest` | maximum text tokens of a response |
| `remember` | text tokens of earlier responses, from chunks that left the window, which the model still reads (default 0) |
| `speak` | `1`: also speak the responses, if the server has a voice |
| `session` | id of a session to resume |

Server → client, `type` as in OpenAI's Realtime API where it fits:

| type | fields |
|---|---|
| `session.created`, `session.resumed` | `session` {id, chunk_ms, sample_rate, instruction, speaks}; `missed`: events discarded |
| `chunk.silent` | chunk, probability, latency_ms (arrival of the chunk's last sample → decision), queue |
| `response.created` | the same fields; called_by, called_with: the chunk that called for the response and its probability |
| `response.output_text.delta` | chunk, delta |
| `response.done` | chunk, text, cut |
| `response.output_audio.delta` | chunk, delta: base64 of PCM16, mono, 16 kHz, at most half a second |
| `response.output_audio.done` | chunk, stopped: discard audio that has not been played |
| `session.reanchored` | chunk: the oldest one still in the context |
| `session.restarted` | died: names of the processes; chunk; lost: chunks that will never be decided. The context is empty |
| `input_audio.dropped` | chunks |
| `error` | error {code, message}; the server closes the connection after a fatal one |

Every event has `sequence` (1, 2, 3 … within the session) and `time` (seconds since the session began), except a fatal error.
"""

from __future__ import annotations

from typing import Final

SAMPLE_RATE: Final = 16_000
MAX_MESSAGE: Final = 64 * 1024
"""Maximum bytes of a message: two seconds of audio."""
BUFFERED_EVENTS: Final = 4096
"""Maximum events kept for a client that is slow or disconnected."""
RESUME_SECONDS: Final = 30.0
"""Time a session waits for its client to reconnect."""
BURST_SECONDS: Final = 30.0
"""Audio a client may send ahead of real time."""
MOST_WAITING: Final = 40
"""Maximum events waiting for a client to which spoken audio is still sent."""
LONGEST_INSTRUCTION: Final = 4000
"""Maximum characters of an instruction."""
LONGEST_INSTRUCTION_TOKENS: Final = 1024
"""Maximum tokens of an instruction: a quarter of the context. One that fills the context would have the cache rebuilt at every
chunk, which delays the other sessions."""
LONGEST_LINE: Final = 64 * 1024
"""Maximum bytes of a request line. It contains the instruction, up to 12 bytes per character."""

BAD_AUDIO: Final = "bad_audio"
BAD_MESSAGE: Final = "bad_message"
TOO_FAST: Final = "too_fast"
FULL: Final = "server_full"
BAD_REQUEST: Final = "bad_request"
UNAUTHORISED: Final = "unauthorised"
SPEECH_FAILED: Final = "speech_failed"
"""Not fatal: the response's text is unaffected."""
TAKEN_OVER: Final = "taken_over"
"""A newer connection continues the session."""
IDLE: Final = "idle"
UNKNOWN_SESSION: Final = "unknown_session"
