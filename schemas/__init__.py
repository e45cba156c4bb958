"""Data types: recipes, clips, scenes, stream plans, token layouts, shard manifests. Imports no other room.

Helpers that every room may use are here too, because each room may import this one: `asset_dir`,
`atomic_file`, `checksums`, `documents`, `errors`, `file_lock`, `inflection`, `licences`, `pcm16`, `regular_file`, `suggest` and
`text`.
"""
