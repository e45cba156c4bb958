"""Pure functions of one clip or one stream: no Ray, no globals, the random generator is passed in."""
