"""The clip index: make it, read it, align it, search it."""
