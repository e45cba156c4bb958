"""Four stages of streaming training: shards to batches, the dual loss, checkpoints that resume bit for bit."""
