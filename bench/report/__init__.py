"""Report page that compares benchmark results with the figures of the paper."""
