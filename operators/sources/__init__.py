"""Readers that turn somebody's folders and manifests into rows: `read_source` is the door, nothing here opens audio."""
