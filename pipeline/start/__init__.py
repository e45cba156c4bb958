"""First steps: a recipe for a clip index, and the demo data."""
