"""Experiments: does the data teach a model, and does each part of the pipeline do its work?"""
