"""What things are: recipes, clips, scenes, streams, token layouts, shards. Imports nothing of ours."""
