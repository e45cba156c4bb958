"""SoundFlow: corpora of always-on audio streams, a streaming model trained on them, and the runtime that serves it."""

__version__ = "0.2.0"
