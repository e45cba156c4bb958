"""Where in a checkpoint streaming happens (paper, Additional Analysis): continuity over chunk boundaries, heads that decide."""
