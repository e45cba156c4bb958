"""Services of a run: chat models and sound generators behind the answer cache with a shared budget, and assets."""
