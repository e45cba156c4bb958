"""Import published corpora; audit manifests; review and speak written dialogues."""
