"""The scenes of a build, the clips made for them, and readable views of them."""
