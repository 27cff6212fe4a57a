"""Searches in processes of their own, to be killed: the real controller and ledger, a task that answers at once."""

import multiprocessing
import resource
import time
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import tensorflow as tf

from tests.fakes import SITES, FakeTask
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search import run
from tf_autodropout.search.analysis.analyse import analyse
from tf_autodropout.search.core import Observer, Opponent, Progress, Result, Trial, unheard
from tf_autodropout.search.engines import InProcess
from tf_autodropout.search.ledger import Ledger, StorageError
from tf_autodropout.search.loop import search_loop
from tf_autodropout.search.searchers import Reinforce, reinforce
from tf_autodropout.search.searchers.controller import Controller
from tf_autodropout.search.space import SearchSpace

CONFIG = {"task": "fake"}
SPACE = SearchSpace(SITES, "network")  # five tokens: each is sampled eagerly
CAPACITY, BATCH = 10, 8
SECONDS = 0.005  # of a child, so that kills find one running

# One process loads TensorFlow and then forks: a session begins at once.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


class SlowTask(FakeTask):
    def train(self, patterns: PatternSet, seed: int) -> Result:
        time.sleep(SECONDS)
        return super().train(patterns, seed)


class SlowTest(FakeTask):
    """Tells the parent of every training that begins."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe

    def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
        self._pipe.send("training")
        time.sleep(SECONDS)
        return super().test(opponent, seed, progress)


class Reporter(Observer):
    """Tells the parent of every trial and every update."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def trial_finished(self, trial: Trial) -> None:
        self._pipe.send(f"trial {trial.number}")

    def updated(self, version: int, metrics: Mapping[str, Any]) -> None:
        self._pipe.send(f"update {version}")


def reinforce_session(directory: Path, trials: int, pipe: Connection) -> None:
    """A search by REINFORCE with a small controller, not compiled: that would take most of a session."""
    tf.config.run_functions_eagerly(True)
    reinforce.Controller = partial(Controller, hidden_dim=8, num_layers=1, num_heads=1)  # type: ignore
    ledger = Ledger(directory, CONFIG)
    searcher = Reinforce(SPACE, seed=3, batch=4)
    search_loop(searcher, ledger, InProcess(SlowTask()), SPACE.decode, trials, CAPACITY, BATCH, Reporter(pipe))
    ledger.close()
    pipe.send("done")


def limited_session(directory: Path, trials: int, pipe: Connection, largest_file: int) -> None:
    """A whole random search with all its files, none of which may grow beyond `largest_file` bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file or hard, hard))
    try:
        run(FakeTask(), trials, directory, searcher="random", fresh_seeds=1, finalists=1)  # type: ignore[arg-type]
        pipe.send("done")
    except StorageError as error:
        pipe.send(str(error))
    except BaseException as error:
        pipe.send(f"another error: {type(error)} {error}")


def analysis_session(directory: Path, seeds: int, pipe: Connection) -> None:
    """The analysis of a run of `FakeTask`."""
    analyse(directory, seeds, SlowTest(pipe))  # type: ignore[arg-type]
    pipe.send("done")


def begin(target: Any, *arguments: Any) -> tuple[ForkServerProcess, Connection]:
    """Starts a session; returns its process and the pipe on which it reports."""
    here, there = _PROCESSES.Pipe(duplex=False)
    directory, trials, *others = arguments
    process = _PROCESSES.Process(target=target, args=(directory, trials, there, *others))
    process.start()
    there.close()  # so that the end of the process ends the pipe
    return process, here
