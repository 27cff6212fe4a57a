"""AutoDropout for TensorFlow: structured dropout patterns, and the search that learns them.

Pham and Le, *AutoDropout: Learning Dropout Patterns to Regularize Deep Networks*, AAAI 2021.

The names below are loaded on first use, so that `import tf_autodropout` and the command line's help
do not wait for TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tf_autodropout.patterns import (
    ConvPattern,
    DropBlockPattern,
    PatternSet,
    Schedule,
    TransformerPattern,
    members,
    transfer,
)
from tf_autodropout.version import __version__ as __version__

if TYPE_CHECKING:
    from tf_autodropout import models, presets, search, visualize
    from tf_autodropout.layers import PatternDropout, monte_carlo
    from tf_autodropout.masks import keep_mask
    from tf_autodropout.search import AutoDropout
    from tf_autodropout.surgery import by_depth, load_model, regularize, sites, strip
    from tf_autodropout.visualize import show

__all__ = [
    "AutoDropout",
    "ConvPattern",
    "DropBlockPattern",
    "PatternDropout",
    "PatternSet",
    "Schedule",
    "TransformerPattern",
    "by_depth",
    "keep_mask",
    "load_model",
    "members",
    "models",
    "monte_carlo",
    "presets",
    "regularize",
    "search",
    "show",
    "sites",
    "strip",
    "transfer",
    "visualize",
]

_MODULES = ("models", "presets", "search", "visualize")
_NAMES = {
    "AutoDropout": "search",
    "PatternDropout": "layers",
    "by_depth": "surgery",
    "keep_mask": "masks",
    "load_model": "surgery",
    "monte_carlo": "layers",
    "regularize": "surgery",
    "show": "visualize",
    "sites": "surgery",
    "strip": "surgery",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"tf_autodropout.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"tf_autodropout.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'tf_autodropout' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
