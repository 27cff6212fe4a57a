"""`AutoDropout`: search dropout patterns for an own model on own data, in one object."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import check_int
from tf_autodropout.search.children.model_data import ModelData
from tf_autodropout.search.core import Engine
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.results.comparison import Row
from tf_autodropout.search.results.report import BEST
from tf_autodropout.search.results.trial_zero import NAME
from tf_autodropout.search.run_search import Search, run
from tf_autodropout.search.search_config import SearchConfig
from tf_autodropout.search.tasks.model_task import ModelTask
from tf_autodropout.search.terminal.console import make_console
from tf_autodropout.search.terminal.progress import ProgressLine, check_verbose


class AutoDropout:
    """Searches the dropout patterns of a Keras model; takes the arguments of `fit`.

    Trial 0 is no dropout; each other trial trains the model with one PatternSet, and its metric on the validation data
    is the reward. The model is compiled once for all trials. The same lines go on after a stop, at whatever moment.

    Args:
        model: A function that returns a compiled model, or a compiled model: see `ModelTask`.
        objective: What is maximized, such as `"val_accuracy"`, `("val_score", "max")`; None for the first metric.
        trials: Number of trials.
        out: Directory of the search: ledger, log, best.json, pictures.
        engine: Where children are trained, see `run`: `"in-process"`, `"processes"`, `"ray"` or an `EngineConfig`.
        config: How it searches; default: `SearchConfig()`. Trial 0 is made whatever it says.
        seed: Seeds everything.
        start: `"fresh"`, `"weights"` or None, see `ModelTask`.
        sites: Where patterns may go, see `ModelTask`.
        granularity: Sites that share a decision, see `ModelTask`.
        keep_dropout: False takes out the Dropout layers that the model has.

    Raises:
        TypeError: a config that is no `SearchConfig`; from `fit`, an argument that `Model.fit` does not have.
        ValueError: from `fit`: whatever is wrong with model, data, objective or sites, before anything is trained.

    Example:
        >>> import keras, numpy as np
        >>> import tf_autodropout as tad
        >>> def build():
        ...     image = keras.Input((8, 8, 1))
        ...     h = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(image))
        ...     model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(h)))
        ...     loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ...     model.compile("adam", loss, metrics=["accuracy"])
        ...     return model
        >>> x, y = np.random.rand(64, 8, 8, 1), np.arange(64) % 2
        >>> search = tad.AutoDropout(build, trials=2, out="runs/example")
        >>> found = search.fit(x, y, validation_data=(x, y), epochs=1, verbose=0)
        >>> len(search.results())
        3

    Reference:
        Pham and Le, AutoDropout, AAAI 2021.
    """

    def __init__(
        self,
        model: keras.Model | Callable[[], keras.Model],
        objective: str | tuple[str, str] | None = None,
        trials: int = 64,
        out: str | Path = "autodropout",
        engine: Engine | EngineConfig | str | None = None,
        config: SearchConfig | None = None,
        seed: int = 0,
        start: str | None = None,
        sites: Any = None,
        granularity: str | None = None,
        keep_dropout: bool = True,
    ) -> None:
        self._model, self._trials, self._directory = model, trials, Path(out)
        self._engine, self._seed = engine, seed
        if config is not None and not isinstance(config, SearchConfig):
            raise TypeError(f"Expected 'config' to be a SearchConfig or None. Received: config={config!r}")
        self._config = replace(config or SearchConfig(), trial_zero=True)
        self._of_task = {"objective": objective, "start": start, "sites": sites, "granularity": granularity}
        self._of_task["keep_dropout"] = keep_dropout
        self._task: ModelTask | None = None
        self._targets = False

    def fit(
        self, x: Any = None, y: Any = None, validation_data: Any = None, verbose: int | str = "auto", **fit: Any
    ) -> Search:
        """Searches; goes on where an earlier call with the same arguments stopped.

        Args:
            x: As for `Model.fit`: arrays, a `tf.data.Dataset`, a `PyDataset`; or a function that returns one of the
                last two, or a tuple. A dataset that shuffles, or one for several processes, is best given so.
            y: Targets, for arrays.
            validation_data: A tuple of arrays, a dataset, or a function that returns one.
            verbose: 0 shows nothing; 1 and "auto" one line that changes in place, on terminals and in notebooks; 2 a
                line for each training.
            **fit: Further arguments of `Model.fit`, and `steps` instead of `epochs`.

        Returns:
            `Search`: its `best` is the PatternSet, its `reward` the mean of the race, its `directory` holds the run.

        Raises:
            TypeError: an argument that `Model.fit` does not have.
            ValueError: something wrong with model, data, objective or sites, a number out of range, before anything is
                trained. `LedgerError`, a `ValueError`: the directory holds another run.
            RuntimeError: trainings fail, see `run`; the same lines go on.
        """
        check_verbose(verbose)
        self._targets = y is not None
        self._task = ModelTask(self._model, x, y, validation_data, **self._of_task, **fit)
        return self._run(self._task, self._config, verbose)

    @property
    def best_patterns(self) -> PatternSet:
        """The best PatternSet that was found.

        Raises:
            ValueError: nothing was found yet.
        """
        if not (self._directory / BEST).exists():
            raise ValueError(f"{self._directory} has no best PatternSet yet. Call fit first.")
        return PatternSet.load(self._directory / BEST)

    def best_model(self, seed: int = 0) -> keras.Model:
        """Returns the model with the best PatternSet in it, trained anew as a trial is; needs `fit` before.

        Args:
            seed: Seeds its weights, masks and the order of the examples.

        Raises:
            ValueError: no call of `fit` before, nothing found yet.
            FloatingPointError: the training diverged.
        """
        return self._fitted_task().retrained(self.best_patterns, seed)

    def results(self) -> list[dict[str, Any]]:
        """Returns a row for each trial, trial 0 first, as `pandas.DataFrame` takes them.

        Raises:
            ValueError: `LedgerError`: the directory holds no run, or a damaged one.
        """
        reader = LedgerReader(self._directory)
        try:
            zero = reader.evaluation(NAME, 0)
            rows = [] if zero is None else [{"trial": 0, "status": "finished", **zero, "patterns": "{}"}]
            for row in reader.rows():
                metrics = {n: v for n, v in json.loads(row["metrics"]).items() if not isinstance(v, list | dict)}
                kept = {name: row[name] for name in ("status", "reward", "worker", "attempts")}
                rows.append({"trial": row["number"], **kept, **metrics, "patterns": row["patterns"]})
            return rows
        finally:
            reader.close()

    def compare(
        self, test_data: Any, seeds: int = 6, tuning: int | None = None, verbose: int | str = "auto"
    ) -> tuple[Row, ...]:
        """Retrains the best PatternSet and its opponents on the same fresh seeds; scores them on test data.

        The opponents: no dropout, the classics tuned on validation, random PatternSets, and TrivialPattern. What was
        trained before is not trained again. The table goes to report.md as well.

        Args:
            test_data: As `validation_data` of `fit`.
            seeds: Number of fresh seeds.
            tuning: Trainings that tune the classics; None for as many as there are trials, 0 for their usual rates.
            verbose: As for `fit`.

        Returns:
            A `Row` for the best PatternSet and each opponent: `name`, and the scores `valid` and `test`, one a seed.

        Raises:
            ValueError: no call of `fit` before, data that `evaluate` cannot take, a number out of range.
            RuntimeError: a training failed twice; the same call goes on with it.
        """
        task = self._fitted_task()
        check_int("seeds", seeds, 1)
        check_verbose(verbose)
        task.test_data = ModelData.of(test_data, "test_data", targets=self._targets)
        return self._run(task, replace(self._config, fresh_seeds=seeds, tuning=tuning), verbose).rows

    def _run(self, task: ModelTask, config: SearchConfig, verbose: int | str) -> Search:
        title = f"{self._trials} trials, into {self._directory}"
        with ProgressLine(make_console(), title, self._trials, verbose) as line:
            return run(
                task,
                self._trials,
                self._directory,
                self._engine,
                config,
                self._seed,
                observers=[line],
                progress=line.training,
            )

    def _fitted_task(self) -> ModelTask:
        if self._task is None:
            raise ValueError(
                "Expected a call of 'fit' before: it tells the data. A finished search is not searched again."
            )
        return self._task
