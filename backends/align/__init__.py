"""Forced aligners: samples and a transcript in, word times out."""
