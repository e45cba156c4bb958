"""One page of benchmark results beside the figures of the paper."""
