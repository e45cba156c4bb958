"""Where the scenarios of a build come from, and the clips made for them."""
