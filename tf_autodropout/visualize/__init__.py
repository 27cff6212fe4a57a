"""Pictures of masks and PatternSets."""

from tf_autodropout.visualize.plot import plot, summary

__all__ = ["plot", "summary"]
