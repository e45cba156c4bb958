"""Processes, threads, signals, progress display and the Ray connection: nothing here depends on corpora."""
