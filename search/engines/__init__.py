"""Engines: where trials are trained."""

from tf_autodropout.search.engines.base import Engine
from tf_autodropout.search.engines.in_process import InProcess

__all__ = ["Engine", "InProcess"]
