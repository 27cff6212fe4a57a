"""Named PatternSets that come with the package, with their provenance. Nothing here knows TensorFlow."""

from tf_autodropout.presets.shelf import load, names, table

__all__ = ["load", "names", "table"]
