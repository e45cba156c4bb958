"""Recognisers (samples in, text out) and the voice-activity detector."""
