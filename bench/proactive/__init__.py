"""ProactiveSound-Bench (paper, §5.3): 644 sounds that are not addressed to the assistant; some of them call for a response."""
