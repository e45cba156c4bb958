"""From clips to a stream: the clip pool, noise tracks and dual-track mixing (paper, Algorithm 3)."""
