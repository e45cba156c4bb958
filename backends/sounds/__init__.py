"""Sound generators: services behind HTTP and the offline synthesiser."""
