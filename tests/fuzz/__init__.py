"""Seeded malformed inputs: every one ends in a named error or a finding, without a traceback, a hang or a gigabyte of memory.

`SOUNDFLOW_FUZZ=20 pytest tests/fuzz` throws twenty times as many. `python -m tests.fuzz` prints the table of outcomes.
"""
