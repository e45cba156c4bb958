"""Published corpora are imported; written dialogues are audited, reviewed and spoken."""
