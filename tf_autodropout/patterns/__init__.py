"""Patterns as plain, frozen values with a JSON form. Nothing here knows TensorFlow."""

from tf_autodropout.patterns import members
from tf_autodropout.patterns.conv_pattern import ConvPattern
from tf_autodropout.patterns.document import DocumentError
from tf_autodropout.patterns.drop_block_pattern import DropBlockPattern
from tf_autodropout.patterns.map_pattern import MapPattern
from tf_autodropout.patterns.pattern import Pattern
from tf_autodropout.patterns.pattern_set import PatternSet, pattern_from_dict, pattern_to_dict, patterns_for
from tf_autodropout.patterns.schedule import Schedule
from tf_autodropout.patterns.site import Site
from tf_autodropout.patterns.transfer import transfer
from tf_autodropout.patterns.transformer_pattern import TransformerPattern

__all__ = [
    "ConvPattern",
    "DocumentError",
    "DropBlockPattern",
    "MapPattern",
    "Pattern",
    "PatternSet",
    "Schedule",
    "Site",
    "TransformerPattern",
    "members",
    "pattern_from_dict",
    "pattern_to_dict",
    "patterns_for",
    "transfer",
]
