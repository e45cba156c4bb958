"""What benchmarks share: measuring, rows of public data sets, runs on disk, players for models."""
