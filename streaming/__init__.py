"""How does a model listen without end? The FIFO scheduler (paper, Algorithm 4), sessions, the server and its page."""
