"""The clip index: build, read, align, interpret and search it."""
