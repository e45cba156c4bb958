"""Read folders and manifests of recordings as rows, without opening audio. The entry point is `manifest.read_source`."""
