"""Is a build what its manifests say? Verify and replay."""
