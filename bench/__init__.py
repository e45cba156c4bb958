"""How fast and how good, always as a ratio against a peer or a limit in the same run."""
