"""The exported table against the ledger, cell by cell, and its data card."""

import datetime
import importlib.metadata
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import tf_autodropout as tad
from tests.fakes import SPACE, FakeTask
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search import run
from tf_autodropout.search.core import Result, Status
from tf_autodropout.search.ledger import Ledger, LedgerError, LedgerReader, stored_config
from tf_autodropout.search.ledger.export import COLUMNS, export_trials
from tf_autodropout.search.searchers import RandomSearch


class EventfulTask(FakeTask):
    """Its second child raises twice, its third diverges; the others have a learning curve."""

    def train(self, patterns: PatternSet, seed: int) -> Result:
        result = super().train(patterns, seed)
        return Result(result.reward, {"train_loss": [2.0, 1.5, 1.25], "note": 'a, "b"\nc'})


def fault(call: int) -> Exception | None:
    if call == 3:
        return FloatingPointError("training loss is nan after 5 steps")
    return RuntimeError("no memory") if call in (2, 18) else None  # trial 2, and again behind those that waited


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "run"
    run(EventfulTask(fault), 20, out, searcher="random", fresh_seeds=0, finalists=1)  # type: ignore[arg-type]
    return out


def test_the_table_says_what_the_ledger_says(finished: Path, tmp_path: Path) -> None:
    count, card = export_trials(finished, tmp_path / "trials.parquet")
    assert (count, card) == (20, tmp_path / "trials.parquet.md")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trials.parquet", "trials.parquet.md"]
    table = pq.read_table(tmp_path / "trials.parquet")
    assert table.column_names == [name for name, _, _ in COLUMNS]
    reader = LedgerReader(finished)
    trials, order = reader.trials(), {number: place for place, (number, _, _) in enumerate(reader.outcomes(), start=1)}
    reader.close()
    for row, trial in zip(table.to_pylist(), trials, strict=True):
        assert (row["number"], row["status"], row["reward"]) == (trial.number, trial.status, trial.reward)
        assert (tuple(row["tokens"]), row["log_prob"]) == (trial.suggestion.tokens, trial.suggestion.log_prob)
        assert PatternSet.from_json(row["patterns"]) == trial.patterns == SPACE.decode(row["tokens"])
        assert (row["attempts"], row["failures"], row["finish_order"]) == (
            trial.attempts,
            trial.failures,
            order[trial.number],
        )
        metrics = json.loads(row["metrics"])
        assert metrics | ({"train_loss": row["learning_curve"]} if row["learning_curve"] else {}) == trial.metrics
        age = datetime.datetime.now(datetime.UTC) - row["queued_at"]
        assert datetime.timedelta() <= age < datetime.timedelta(minutes=10)
        assert row["queued_at"] <= row["started_at"] <= row["finished_at"]
    by_number = {row["number"]: row for row in table.to_pylist()}
    assert by_number[1]["learning_curve"] == [2.0, 1.5, 1.25]
    assert [by_number[n]["error"] for n in (1, 2, 3)] == [
        None,
        "RuntimeError: no memory",
        "training loss is nan after 5 steps",
    ]
    assert [by_number[n]["consumed_by"] for n in (2, 3)] == [None, 1]  # a failed trial teaches nothing
    assert json.loads(table.schema.metadata[b"tf_autodropout"]) == stored_config(finished)


def test_the_card_explains_every_column_value_and_decision(finished: Path, tmp_path: Path) -> None:
    _, card = export_trials(finished, tmp_path / "trials.parquet")
    text = card.read_text()
    assert "20 trials" in text
    assert "1 failed, 18 finished, 1 invalid" in text
    for name, _, _ in COLUMNS:
        assert f"| `{name}` |" in text
    for place, decision in enumerate(SPACE.decisions):
        assert f"\n{place}. `{decision.group} {decision.token}`\n" in text + "\n"
    for token, values in SPACE.grid.items():
        assert f"| `{token}` | {', '.join(map(str, values))} |" in text
    assert "tensorflow 2" in text


def test_the_cards_example_runs(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, card = export_trials(finished, tmp_path / "trials.parquet")
    monkeypatch.chdir(tmp_path)
    code = card.read_text().split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(code, names)
    reader = LedgerReader(finished)
    assert names["patterns"] == reader.top(1)[0].patterns
    reader.close()


def test_a_run_at_work_exports_what_is_there(tmp_path: Path) -> None:
    space = SPACE.describe() | {"decisions": []}
    config = {"task": {"name": "fake", "space": space}, "seed": 0}
    ledger = Ledger(tmp_path / "run", config)
    assert export_trials(tmp_path / "run", tmp_path / "none.parquet")[0] == 0
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
    suggestion = RandomSearch(SPACE, 0).suggest(1)[0]
    (trial,) = ledger.add([(suggestion, SPACE.decode(suggestion.tokens))])
    ledger.start(trial.number)
    export_trials(tmp_path / "run", tmp_path / "one.parquet")
    ledger.close()
    (row,) = pq.read_table(tmp_path / "one.parquet").to_pylist()
    assert (row["status"], row["reward"], row["finished_at"]) == (Status.RUNNING, None, None)


def test_the_card_is_written_where_tensorflow_has_another_name(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        if package == "tensorflow":
            raise importlib.metadata.PackageNotFoundError(package)
        return "2.20.0" if package == "tensorflow-tpu" else "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    _, card = export_trials(finished, tmp_path / "trials.parquet")
    assert f"tf_autodropout {tad.__version__}, tensorflow-tpu 2.20.0, keras 1" in card.read_text()


def test_bad_places_are_refused_and_nothing_is_written(finished: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "trials.csv", tmp_path / "nowhere" / "trials.parquet"):
        with pytest.raises(ValueError, match="expected a .parquet file"):
            export_trials(finished, file)
    with pytest.raises(LedgerError, match="holds no run"):
        export_trials(tmp_path, tmp_path / "trials.parquet")
    assert list(tmp_path.iterdir()) == []
