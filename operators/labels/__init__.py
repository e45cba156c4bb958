"""Names of sounds: texts that are no names, label maps, and the published labels of datasets."""
