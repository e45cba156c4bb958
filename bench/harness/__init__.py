"""Shared parts of the benchmarks: timing, rows of public data sets, runs on disk, players of models."""
