"""Speakers: text and a voice in, 16 kHz samples out."""
