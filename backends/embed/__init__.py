"""Embedders: texts (some also sounds) in, unit vectors out."""
