"""Forced aligners: samples and a transcript to word times."""
