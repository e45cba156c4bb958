"""The on-disk format of a corpus: build directory, commit, shards, clip store."""
