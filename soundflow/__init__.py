"""SoundFlow: corpora of always-on audio streams, a streaming model trained on them, and the runtime that serves it."""
