"""What is done to one clip or one stream: pure verbs, no Ray, no globals, the rng is passed in."""
