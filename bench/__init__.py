"""Benchmarks of speed and quality. Speed is a ratio to a peer or a limit measured in the same run."""
