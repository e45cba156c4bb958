"""Conversion between timelines and tokens with labels (paper, Algorithm 2)."""
