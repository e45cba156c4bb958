"""Builds as jobs of a Ray cluster."""
