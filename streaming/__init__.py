"""The live runtime: FIFO scheduling (paper, Algorithm 4), sessions, the WebSocket server, its client and its page."""
