"""Data types: recipes, clips, scenes, stream plans, token layouts, shard manifests. Imports no other room.

Helpers that every room may use are here too, because each room may import this one: `atomic_file`, `checksums`,
`documents`, `pcm16`, `asset_dir`, `suggest` and `text`.
"""
