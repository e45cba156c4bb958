"""Verify a build against its manifests, and replay single streams."""
