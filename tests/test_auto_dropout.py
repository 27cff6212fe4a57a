"""`tad.AutoDropout`: search, stop, go on, results, the best model, the comparison; on this process and on others."""

import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tf_autodropout as tad
from tests.own_models import DATA, X, Y, convnet
from tf_autodropout.search.core import Observer
from tf_autodropout.search.ledger import LedgerReader
from tf_autodropout.search.search_config import SearchConfig

QUICK = SearchConfig("random", finalists=2)


def auto(out: Path, model: Any = convnet, **given: Any) -> tad.AutoDropout:
    return tad.AutoDropout(model, out=out, **{"trials": 3, "config": QUICK} | given)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[tad.AutoDropout, Any]:
    out = tmp_path_factory.mktemp("auto") / "run"

    class Stops(Observer):
        def trial_finished(self, trial: Any) -> None:
            raise KeyboardInterrupt

    stopped = auto(out)

    def run_stopped(task: Any, config: Any, verbose: Any) -> Any:
        return tad.search.run(task, 3, out, None, config, observers=[Stops()])

    stopped._run = run_stopped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(**DATA, epochs=2)
    search = auto(out)
    return search, search.fit(**DATA, epochs=2)


def test_a_stopped_search_goes_on_with_the_same_lines(searched: Any) -> None:
    search, found = searched
    rows = search.results()
    assert [row["trial"] for row in rows] == [0, 1, 2, 3]
    assert {row["status"] for row in rows} == {"finished"}
    assert [row["attempts"] for row in rows[1:]] == [1, 1, 1]
    assert all({"reward", "val_accuracy", "val_loss", "patterns"} <= row.keys() for row in rows[1:])
    assert search.best_patterns == found.best
    assert auto(found.directory).best_patterns == found.best  # in another session, before anything else
    text = (found.directory / "log.txt").read_text()
    assert "going on: 1 trials are final" in text
    assert ("told from chance" in text) or ("is ahead" in text)
    for file in ("best.json", "best.png", "best_so_far.png", "ledger.sqlite"):
        assert (found.directory / file).exists()


def test_the_best_model_has_the_best_patterns_and_is_one_of_keras(searched: Any, tmp_path: Path) -> None:
    search, found = searched
    model = search.best_model(seed=1)
    patterns = [site.pattern for site in tad.sites(model)]
    assert [p for p in patterns if p is not None] == [p for p in found.best.values() if not p.is_identity]
    model.save(tmp_path / "best.keras")
    again = tad.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(again.predict(X[:4], verbose=0), model.predict(X[:4], verbose=0), atol=1e-5)


def test_the_comparison_is_on_test_data_and_nothing_is_trained_twice(searched: Any) -> None:
    search, found = searched
    rows = search.compare((X[:16], Y[:16]), seeds=1, tuning=2)
    names = [row.name for row in rows]
    assert names[:2] == ["best PatternSet", "no dropout"]
    assert {"Dropout", "Spatial Dropout", "DropBlock"} <= {name.split("(")[0] for name in names}
    assert names[-2:] == ["TrivialPattern", "random PatternSets"]
    assert json.loads((found.directory / "table.json").read_text())["score"] == "test accuracy"
    before = LedgerReader(found.directory).evaluation("no dropout", 0)
    assert search.compare((X[:16], Y[:16]), seeds=1, tuning=2) == rows
    assert LedgerReader(found.directory).evaluation("no dropout", 0) == before


@pytest.mark.slow
def test_it_says_how_far_it_is_as_keras_does(searched: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    _, found = searched
    capsys.readouterr()
    auto(found.directory).fit(**DATA, epochs=2, verbose=0)
    assert capsys.readouterr() == ("", "")
    auto(found.directory).fit(**DATA, epochs=2)
    title = f"3 trials, into {found.directory}, going on after 3 finished"
    assert " ".join(capsys.readouterr().out.split()) == title
    auto(tmp_path / "run", trials=2).fit(**DATA, epochs=1, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "no dropout, as trial 0"
    assert any(line.startswith("2/2  trial 2: reward ") for line in lines)
    assert lines[-1].startswith("retraining ")
    for verbose in ("loud", 3, True, None):
        with pytest.raises(ValueError, match="Invalid value for 'verbose'. Expected 'auto', 0, 1 or 2"):
            auto(tmp_path / "none").fit(**DATA, verbose=verbose)
    assert not (tmp_path / "none").exists()


def test_other_data_is_another_run_and_what_needs_fit_says_so(searched: Any, tmp_path: Path) -> None:
    _, found = searched
    with pytest.raises(ValueError, match="holds another run: its task data"):
        auto(found.directory).fit(**DATA | {"x": DATA["x"] + 1}, epochs=2)
    with pytest.raises(ValueError, match="Expected a call of 'fit' before"):
        auto(found.directory).best_model()
    with pytest.raises(ValueError, match="has no best PatternSet yet"):
        _ = auto(tmp_path / "none").best_patterns


@pytest.mark.slow
def test_worker_processes_give_the_same_rewards(searched: Any, tmp_path: Path) -> None:
    """The function is sent by value where a worker cannot import it: here it is made on the spot."""
    search, _ = searched
    build = convnet

    def local() -> keras.Model:
        return build()

    elsewhere = auto(tmp_path / "run", local, engine=tad.search.EngineConfig("processes", workers=1), trials=2)
    elsewhere.fit(**DATA, epochs=2)
    here = [row["val_loss"] for row in search.results()[1:3]]
    assert [row["val_loss"] for row in elsewhere.results()[1:3]] == pytest.approx(here, rel=1e-4)
    assert elsewhere.results()[1]["worker"].startswith("worker 0")


def test_a_mistake_in_the_model_stops_the_search_with_it_and_a_mended_one_goes_on(tmp_path: Path) -> None:
    class Mistaken(keras.Model):
        mended = False

        def train_step(self, data: Any) -> Any:
            if not Mistaken.mended:
                raise NameError("name 'weigths' is not defined")
            return super().train_step(data)

    def build() -> keras.Model:
        model = convnet()
        mistaken = Mistaken(model.input, model.output)
        mistaken.compile("adam", model.loss, metrics=["accuracy"], jit_compile=False)
        return mistaken

    with pytest.raises(RuntimeError, match="NameError: name 'weigths' is not defined"):
        auto(tmp_path / "run", build).fit(**DATA, epochs=1)
    Mistaken.mended = True
    assert len(auto(tmp_path / "run", build).fit(**DATA, epochs=1).best) > 0


def test_the_network_s_own_dropout_is_named_in_the_report(searched: Any) -> None:
    from tests.test_comparison import report_of

    _, found = searched
    text = report_of(found.directory)
    assert "the network keeps dropout of its own: Dropout(0.2)" in text
    assert "without dropout" in text


def test_a_task_that_cannot_be_sent_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="Of a tf.data.Dataset give the function"):
        auto(tmp_path / "run", engine="processes").fit(data, validation_data=data)
