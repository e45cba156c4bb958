"""How a build runs: curation, workers, executors, object stores."""
