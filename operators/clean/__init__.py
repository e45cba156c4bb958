"""From a recording to a clip: ingress, TFJP (paper, Algorithm 1) and the cache of cleaned clips."""
