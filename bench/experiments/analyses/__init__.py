"""Analyses of a checkpoint (paper, Additional Analysis): continuity across chunk boundaries, importance of attention heads."""
