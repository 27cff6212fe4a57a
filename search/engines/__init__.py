"""Engines: where trials are trained."""

from tf_autodropout.search.core import Engine
from tf_autodropout.search.engines.in_process import InProcess
from tf_autodropout.search.engines.worker_processes import WorkerProcesses

__all__ = ["Engine", "InProcess", "WorkerProcesses"]
