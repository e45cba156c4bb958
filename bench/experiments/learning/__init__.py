"""The learning proof: a small model learns from a corpus of the pipeline when to respond and with which text."""
