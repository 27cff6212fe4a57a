"""Pictures of masks, of PatternSets, and of what the patterns of a model do."""

from tf_autodropout.visualize.network import network
from tf_autodropout.visualize.plot import plot, summary
from tf_autodropout.visualize.report import report
from tf_autodropout.visualize.show import show

__all__ = ["network", "plot", "report", "show", "summary"]
