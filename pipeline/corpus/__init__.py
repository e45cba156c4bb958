"""The format of a corpus on disk: build directory, commit protocol, shards and clip store."""
