"""What a run leaves for the eye: the curve, the trials in the report, TensorBoard's events."""

import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.fakes import SPACE, FakeTask
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search import Search, run
from tf_autodropout.search.core import LEARNING_CURVE, Result
from tf_autodropout.search.ledger import LedgerReader, stored_config
from tf_autodropout.search.page.document import document
from tf_autodropout.search.results.curve import curve
from tf_autodropout.search.results.report import print_report
from tf_autodropout.search.results.trial_list import MOST_FAILURES, Failure, told
from tf_autodropout.search.results.trial_zero import without_dropout

FALLEN, RAISED = 5, 8  # trainings; the first is trial 0


class Told(FakeTask):
    """With learning curves; one training diverges, and one PatternSet always raises a hostile message."""

    def __init__(self) -> None:
        super().__init__({FALLEN: FloatingPointError("loss is nan")}.get)
        self._hated: PatternSet | None = None

    def train(self, patterns, seed) -> Result:
        result = super().train(patterns, seed)
        if len(self.calls) == RAISED:
            self._hated = patterns
        if patterns == self._hated:
            raise ValueError("no `file`\n| in \x1b[31m[red]")
        noise = (seed % 97) / 970
        metrics = {LEARNING_CURVE: [3.0, 2.0, 1.0 + noise]}
        return dataclasses.replace(result, reward=result.reward + noise, metrics=metrics)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Search:
    out = tmp_path_factory.mktemp("results") / "run"
    return run(Told(), 16, out, searcher="random", trial_zero=True, finalists=3, fresh_seeds=2, tuning=0)  # type: ignore[arg-type]


@pytest.fixture
def ledger(found: Search):
    reader = LedgerReader(found.directory)
    yield reader
    reader.close()


def test_the_curve_says_what_its_top_is_and_has_a_line_for_no_dropout(found: Search, ledger: LedgerReader) -> None:
    figure = curve(ledger, 3)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {
        *("trial, one training", "best so far, one training", "failed or invalid"),
        *("mean over new seeds", "no dropout, mean over new seeds"),
    }
    rewards = [trial.reward for trial in ledger.trials() if trial.status == "finished"]
    assert sorted(lines["trial, one training"].get_ydata()) == pytest.approx(sorted(rewards))
    assert max(lines["best so far, one training"].get_ydata()) == pytest.approx(max(rewards))
    assert found.reward in [pytest.approx(mean) for mean in lines["mean over new seeds"].get_ydata()]
    without = without_dropout(ledger)
    assert len(without) > 1
    assert lines["no dropout, mean over new seeds"].get_ydata()[0] == pytest.approx(np.mean(without))
    title = axes.get_title(loc="left")
    assert re.search(rf"{found.reward:.4f} as mean over \d+ new seeds", title)
    assert f"the highest single training had {max(rewards):.4f}" in title


def test_the_legend_covers_nothing(ledger: LedgerReader) -> None:
    figure = curve(ledger, 3)
    figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    assert not axes.get_legend()
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    assert figure.bbox.containsx(legend.get_window_extent().x0)
    assert figure.bbox.containsx(axes.title.get_window_extent().x1)


def test_without_a_race_the_curve_says_that_one_training_is_luck(tmp_path: Path) -> None:
    run(FakeTask(), 4, tmp_path / "run", searcher="random", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    reader = LedgerReader(tmp_path / "run")
    try:
        (axes,) = curve(reader, 1).axes
    finally:
        reader.close()
    assert [line.get_label() for line in axes.lines] == ["trial, one training", "best so far, one training"]
    assert "in one training, which is in part luck" in axes.get_title(loc="left")


def test_without_trial_0_the_line_is_that_of_the_trials_that_drop_nothing(tmp_path: Path) -> None:
    found = run(FakeTask(), 6, tmp_path / "run", searcher="thompson", finalists=1, fresh_seeds=0)  # type: ignore[arg-type]
    reader = LedgerReader(found.directory)
    try:
        (axes,) = curve(reader, 1).axes
        first = reader.trials()[0]
    finally:
        reader.close()
    assert all(pattern.is_identity for pattern in first.patterns.values())
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["no dropout, one training"].get_ydata()[0] == first.reward
    assert document(found.directory)["without"] == [pytest.approx(first.reward, rel=1e-5)]


def test_the_report_lists_trials_and_what_came_to_nothing(found: Search, ledger: LedgerReader) -> None:
    console = Console(record=True, file=io.StringIO(), width=100)
    config = stored_config(found.directory)
    assert config is not None
    print_report(console, found.directory, ledger, config)
    page = (found.directory / "report.md").read_text("utf-8")
    shown = console.export_text()
    for text in (shown, page):
        assert "\x1b" not in text
        assert "14 finished, 1 failed, 1 invalid" in text
        assert re.search(r"trial 4 invalid: .*loss is nan", text)
        assert re.search(r"trial 7 failed after 2 attempts: ValueError: no .file. \| in ", text)
        for trial in ledger.top(5):
            assert re.search(rf"[|│] +{trial.number} +[|│] +{trial.reward:.4f} +[|│]", text)
        assert re.search(rf"{found.reward:.4f} \(\d+\)", text)  # the mean over so many new seeds
    assert max(map(len, shown.splitlines())) <= 100


def test_a_narrow_terminal_has_all_figures(found: Search, ledger: LedgerReader) -> None:
    console = Console(record=True, file=io.StringIO(), width=40)
    print_report(console, found.directory, ledger, stored_config(found.directory) or {})
    shown = console.export_text()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 40
    for row in found.rows:
        assert f"{row.mean:.2f}" in shown


def test_of_many_failures_some_are_told() -> None:
    failed = [Failure(number, "failed", 2, "why") for number in range(1, 20)]  # type: ignore[arg-type]
    lines = told(failed)
    assert len(lines) == MOST_FAILURES + 1
    assert lines[-1] == f"and {19 - MOST_FAILURES} more: log.txt"
    assert told(failed[:MOST_FAILURES])[-1] == f"trial {MOST_FAILURES} failed after 2 attempts: why"
    assert told([]) == []


def test_tensorboard_has_masks_learning_curves_and_the_decisions_of_each_trial(
    found: Search, ledger: LedgerReader
) -> None:
    events = found.directory / "tensorboard"
    whole = EventAccumulator(str(events)).Reload()
    (picture,) = whole.Tags()["tensors"] and [tag for tag in whole.Tags()["tensors"] if tag == "best PatternSet"]
    width, height, png = whole.Tensors(picture)[0].tensor_proto.string_val
    assert png.startswith(b"\x89PNG")
    assert int(width) > int(height) / 4 > 10
    data = whole.PluginTagToContent("hparams")["_hparams_/experiment"]
    experiment = plugin_data_pb2.HParamsPluginData.FromString(data).experiment
    assert [one.name for one in experiment.hparam_infos] == [f"{d.group} {d.token}" for d in SPACE.decisions]
    assert [one.name.tag for one in experiment.metric_infos] == ["reward"]

    rewarded = [trial for trial in ledger.trials() if trial.reward is not None]
    assert sorted(path.name for path in (events / "trials").iterdir()) == [f"{t.number:05}" for t in rewarded]
    trial = rewarded[-1]
    own = EventAccumulator(str(events / "trials" / f"{trial.number:05}")).Reload()
    losses = [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in own.Tensors("train_loss")]
    assert losses == [(step, pytest.approx(loss)) for step, loss in enumerate(trial.metrics[LEARNING_CURVE], 1)]
    assert float(tf.make_ndarray(own.Tensors("reward")[0].tensor_proto)) == pytest.approx(trial.reward)
    data = own.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    chosen = plugin_data_pb2.HParamsPluginData.FromString(data).session_start_info.hparams
    for decision, token in zip(SPACE.decisions, trial.suggestion.tokens, strict=True):
        value, told_value = decision.values[token], chosen[f"{decision.group} {decision.token}"]
        kind = told_value.WhichOneof("kind")
        assert getattr(told_value, kind) == (str(value) if kind == "string_value" else value)
