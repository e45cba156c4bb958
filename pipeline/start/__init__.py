"""First steps: write a recipe for a clip index, and prepare the recordings of the demos."""
