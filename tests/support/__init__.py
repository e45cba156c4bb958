"""What tests share: miniature corpora, hostile services, stand-in servers."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
