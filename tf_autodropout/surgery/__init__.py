"""Surgery of Keras models: the sites of a model, patterns put in and taken out."""

from tf_autodropout.surgery.depth import DepthRule, by_depth
from tf_autodropout.surgery.discovery import sites
from tf_autodropout.surgery.insertion import regularize
from tf_autodropout.surgery.loading import load_model
from tf_autodropout.surgery.removal import strip
from tf_autodropout.surgery.site_table import ModelSite, SiteTable, Unreachable

__all__ = [
    "DepthRule",
    "ModelSite",
    "SiteTable",
    "Unreachable",
    "by_depth",
    "load_model",
    "regularize",
    "sites",
    "strip",
]
