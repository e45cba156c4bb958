"""Recognisers (samples to text) and the voice activity detector."""
