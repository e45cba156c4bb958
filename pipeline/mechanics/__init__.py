"""Processes, threads, signals, progress and the Ray connection: no knowledge of corpora."""
