"""The WebSocket protocol: binary PCM16 in, JSON events out. The events are defined in `streaming.events`.

Client → server: binary messages hold little-endian PCM16, mono, any even number of bytes up to 65,536. Text messages are JSON:
`{"type": "session.close"}` ends the session, `{"type": "response.cancel"}` ends the open response (barge-in). A text message with
another type or another field is answered with an `error` and has no effect.

Query parameters of the URL set the options of a session. Any other name, a name given twice and an invalid value are refused with
HTTP 400:

| parameter | meaning |
|---|---|
| `instruction` | text the model reads first |
| `threshold` | probability of <response> from which a response opens |
| `drain` | maximum chunks read at once; with 1 nothing depends on when audio arrives |
| `longest` | maximum text tokens of a response |
| `remember` | text tokens of earlier responses, from chunks that left the window, which the model still reads (default 0) |
| `sample_rate` | Hz of the client's audio, 8000 to 192000 (default 16000); the server resamples it to 16 kHz |
| `speak` | `true` or `1`: also speak the responses, if the server has a voice; `false` or `0` (default): only text |
| `session` | id of a session to resume, which keeps its options; no other option may be given |
| `token` | token of the server, for clients that cannot send `Authorization: Bearer TOKEN` |

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
| `input_audio.dropped` | chunks; reason: `queue_full`, or `too_fast` for audio more than 30 s ahead of real time |
| `error` | error {code, message}; the server closes the connection after a fatal one |

Every event has `sequence` (1, 2, 3 … within the session) and `time` (seconds since the session began), except a fatal error.

Errors after which the session and the connection end, and the seat of the session is free: `bad_audio` (an odd number of bytes),
`message_too_large`, `bad_message` (not a JSON object, not UTF-8, not a WebSocket frame) and `idle` (no audio for 5 minutes).
`taken_over` ends only the connection. Errors after which everything continues: `bad_message` (unknown type or field),
`too_many_messages` (messages are read more slowly from now on), `engine_stalled` (a process did not respond and is replaced;
`session.restarted` follows) and `speech_failed`.

A connection that ends without any of these leaves its session for 30 s, so that the client can resume it. A client that closed
the connection with a close frame is expected to be gone: a new client gets its seat when no other one is free.
"""

from __future__ import annotations

from typing import Final

SAMPLE_RATE: Final = 16_000
MAX_MESSAGE: Final = 64 * 1024
"""Maximum bytes of a message: two seconds of audio at 16 kHz."""
MESSAGES_PER_SECOND: Final = 500.0
"""Messages of a connection read per second. An AudioWorklet at 48 kHz sends 375."""
COMMANDS_PER_SECOND: Final = 20.0
"""Text messages of a connection read per second."""
MESSAGE_BURST_SECONDS: Final = 5.0
"""Time's worth of messages that a connection may send at once."""
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
TOO_LARGE: Final = "message_too_large"
TOO_MANY_MESSAGES: Final = "too_many_messages"
"""Not fatal: the client's messages are read more slowly."""
TOO_MANY_ATTEMPTS: Final = "too_many_attempts"
ENGINE_STALLED: Final = "engine_stalled"
"""Not fatal: a process that did not respond was replaced."""
FULL: Final = "server_full"
BAD_REQUEST: Final = "bad_request"
UNAUTHORISED: Final = "unauthorised"
SPEECH_FAILED: Final = "speech_failed"
"""Not fatal: the response's text is unaffected."""
TAKEN_OVER: Final = "taken_over"
"""A newer connection continues the session."""
IDLE: Final = "idle"
UNKNOWN_SESSION: Final = "unknown_session"
