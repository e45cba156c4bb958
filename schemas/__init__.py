"""Data types: recipes, clips, scenes, stream plans, token layouts, shard manifests. Imports no other room."""
