"""Readers that turn somebody's files into clip rows."""
