"""Seven public benchmarks besides ProactiveSound-Bench: readers of the published files, and the official metrics."""
