"""ProactiveSound-Bench (paper, §5.3): 644 sounds nobody addressed to the assistant; should it speak up, and what does it say?"""
