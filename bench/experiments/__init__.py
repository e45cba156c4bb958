"""Experiments on the quality of the data and of parts of the pipeline."""
