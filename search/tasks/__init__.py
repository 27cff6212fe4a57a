"""Tasks: train a child with a PatternSet and return its reward."""
