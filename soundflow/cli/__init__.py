"""The commands, one module per area. A command imports its room when it is called, so that `soundflow --help` is fast."""
