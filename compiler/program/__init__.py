"""The artefact: a network laid out on an engine, and its folder on disk."""
