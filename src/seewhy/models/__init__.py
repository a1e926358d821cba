"""Models: loaded, watched, and left as they were."""
