"""Four stages of streaming training: shards to batches, dual loss, checkpoints that resume bit for bit."""
