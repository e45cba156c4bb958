"""The commands, one file per area. Each imports its room only when it is called."""
