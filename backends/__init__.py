"""What SoundFlow speaks to: a small Protocol per kind of backend, each with real implementations."""
