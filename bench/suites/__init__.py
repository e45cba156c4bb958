"""The seven public benchmarks beside ProactiveSound-Bench: readers of their real files, their official metrics, one report."""
