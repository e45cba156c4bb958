"""Backends as a build uses them: behind the answer cache, with one budget for all processes; and assets."""
