"""The final table: fresh seeds, nothing trained twice, no claim beyond the numbers."""

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from tests.fakes import FakeTask, ctrl_c
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search import Search, run
from tf_autodropout.search.core import Opponent, Progress, Result, unheard
from tf_autodropout.search.ledger import LedgerReader, stored_config
from tf_autodropout.search.results.comparison import Row, verdict
from tf_autodropout.search.results.report import print_report
from tf_autodropout.search.terminal.progress import ProgressLine

FILES = {"best.json", "best.png", "best_so_far.png", "report.md", "table.json", "ledger.sqlite", "tensorboard"}


LINES = [
    *("best PatternSet", "no dropout", "half"),
    *("Dropout(0.1)", "Word Dropout(0.1)", "Variational Dropout(0.1)", "random PatternSets"),
]


def search(out: Path, task: FakeTask | None = None, **kwargs) -> Search:
    kwargs = {"trials": 20, "finalists": 1, "tuning": 0} | kwargs
    return run(task or FakeTask(), kwargs.pop("trials"), out, searcher="random", **kwargs)  # type: ignore[arg-type]


def test_a_search_writes_all_its_files_and_the_best_is_the_best(tmp_path: Path) -> None:
    found = search(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} >= FILES
    assert PatternSet.load(tmp_path / "run" / "best.json") == found.best
    reader = LedgerReader(tmp_path / "run")
    rewards = [trial.reward for trial in reader.trials()]
    reader.close()
    assert found.reward == max(r for r in rewards if r is not None)
    notes = found.best.provenance
    assert (notes["task"], notes["searcher"], notes["reward"]) == ("fake", "random", found.reward)
    assert notes["sites"] == {"first": [8, 4], "second": [8, 4]}
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_the_table_has_fresh_seeds_that_all_rows_share_and_no_trial_had(tmp_path: Path) -> None:
    task = FakeTask()
    found = search(tmp_path / "run", task, fresh_seeds=3)
    assert [row.name for row in found.rows] == LINES
    trial_seeds, fresh = {s for _, s in task.calls[:20]}, [s for _, s in task.calls[20:]]
    assert len(fresh) == 3 * len(LINES)
    assert all(fresh[start : start + 3] == fresh[:3] for start in range(0, len(fresh), 3))
    assert len(set(fresh)) == 3
    assert len({patterns for patterns, _ in task.calls[-3:]}) == 3  # another random one for each seed
    assert not trial_seeds & set(fresh)
    table = json.loads((tmp_path / "run" / "table.json").read_text())
    assert [row["name"] for row in table["rows"]] == [row.name for row in found.rows]
    assert "| best PatternSet |" in (tmp_path / "run" / "report.md").read_text()


def test_a_second_call_trains_nothing_again(tmp_path: Path) -> None:
    first = search(tmp_path / "run")
    task = FakeTask()
    assert search(tmp_path / "run", task) == first
    assert task.calls == []


def test_a_table_that_was_stopped_goes_on(tmp_path: Path) -> None:
    stopped = FakeTask(lambda call: None)
    stopped.test = lambda opponent, seed: ctrl_c()  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", stopped)
    assert (tmp_path / "run" / "best.json").exists()
    task = FakeTask()
    assert len(search(tmp_path / "run", task).rows) == len(LINES)
    assert len(task.calls) == 6 * len(LINES)


def test_a_run_in_which_everything_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such kernel"):
        search(tmp_path / "run", FakeTask(lambda call: ValueError("no such kernel")), trials=3)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"trials": 0}, "trials"),
        ({"trials": True}, "trials"),
        ({"trials": 4, "seed": -1}, "seed"),
        ({"trials": 4, "searcher": "grid"}, "searcher"),
        ({"trials": 4, "fresh_seeds": -1}, "fresh_seeds"),
        ({"trials": 4, "tuning": -1}, "tuning"),
        ({"trials": 4, "capacity": 0}, "capacity"),
        ({"trials": 4, "batch": 1.5}, "batch"),
        ({"trials": 4, "config": "fast"}, "SearchConfig"),
        ({"trials": 4, "halving": "no"}, "halving"),
        ({"trials": 4, "task": None}, "Expected one of pydoc, .* or a Task"),
    ],
)
def test_bad_arguments_change_nothing_on_disk(tmp_path: Path, arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        run(out=tmp_path / "run", **{"task": FakeTask()} | arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    search(tmp_path / "run", seed=1)
    with pytest.raises(ValueError, match="its seed is 1"):
        search(tmp_path / "run", seed=2)


def test_fewer_trials_than_there_are_are_refused(tmp_path: Path) -> None:
    search(tmp_path / "run", trials=3, fresh_seeds=0)
    with pytest.raises(ValueError, match="holds 3 trials. Expected 'trials' >= 3. Received: 2"):
        search(tmp_path / "run", trials=2, fresh_seeds=0)
    reader = LedgerReader(tmp_path / "run")
    assert reader.arguments()["trials"] == 3
    reader.close()


def row(name: str, *test: float) -> Row:
    return Row(name, test, test)


@pytest.mark.parametrize(
    ("found", "rival", "lower", "says"),
    [
        ((10.0, 10.1, 9.9) * 3, (12.0, 12.1, 11.9) * 3, True, "leads"),
        ((10.0, 10.1, 9.9) * 3, (12.0, 12.1, 11.9) * 3, False, "trails"),
        ((10.0, 12.0, 8.0) * 3, (11.0, 11.0, 9.0) * 3, True, "No clear winner"),
    ],
)
def test_the_verdict_carries_no_more_than_the_numbers(found, rival, lower: bool, says: str) -> None:
    worse = (20.0, 20.1, 19.9) * 3 if lower else (1.0, 1.1, 0.9) * 3
    text = verdict([row("best PatternSet", *found), row("worse", *worse), row("rival", *rival)], lower)
    assert text.startswith(says) or says in text
    assert "rival" in text


def test_who_is_ahead_beyond_chance_is_told_though_another_one_is_further_ahead_by_chance() -> None:
    found, near = (10.0, 10.1, 9.9) * 3, (11.0, 11.1, 10.9) * 3
    far = (10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 40.0)
    text = verdict([row("best PatternSet", *found), row("near", *near), row("far", *far)], lower_is_better=False)
    assert text.startswith("The best PatternSet trails near by -1.00")


def test_what_so_few_seeds_cannot_show_is_told() -> None:
    found, better = tuple(float(one) for one in range(6)), tuple(float(one) + 5 for one in range(6))
    rows = [row("best PatternSet", *found), row("better", *better), row("worse", *(one - 9 for one in found))]
    assert verdict(rows, lower_is_better=False).endswith("6 seeds cannot give a p below 0.0625 after Holm.")
    assert verdict([rows[1], rows[0], rows[2]], lower_is_better=False).startswith("The best PatternSet leads all 2")


def test_an_infinite_score_is_a_training_that_diverged(tmp_path: Path) -> None:
    class Overflows(FakeTask):
        def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
            scores = super().test(opponent, seed)
            return Result(0.0, {"valid": math.inf, "test": math.inf}) if opponent.name == "half" else scores

    found = search(tmp_path / "run", Overflows(), fresh_seeds=2)
    assert [row.name for row in found.rows if math.isnan(row.mean)] == ["half"]
    json.loads((tmp_path / "run" / "table.json").read_text(), parse_constant=pytest.fail)


def test_a_training_of_the_table_that_diverges_is_told_and_the_table_is_made(tmp_path: Path) -> None:
    class Diverges(FakeTask):
        def test(self, opponent: Opponent, seed: int, progress: Progress = unheard) -> Result:
            scores = super().test(opponent, seed)
            if opponent.name == "half":
                raise FloatingPointError("training loss is nan")
            return scores

    found = search(tmp_path / "run", Diverges(), fresh_seeds=2)
    assert [row.name for row in found.rows if math.isnan(row.mean)] == ["half"]
    table = json.loads((tmp_path / "run" / "table.json").read_text(), parse_constant=pytest.fail)
    assert table["rows"][2]["test"] == [None, None]
    assert "| half | diverged | - | - | 2 | - | - | - |" in (tmp_path / "run" / "report.md").read_text()
    assert "diverged" in report_of(tmp_path / "run")
    assert "half" not in verdict(found.rows, lower_is_better=False)


def test_the_verdict_needs_trainings_that_did_not_diverge() -> None:
    found, rival, nan = row("best PatternSet", 1.0, 1.0), row("rival", 2.0, 2.0), float("nan")
    assert "of the best PatternSet diverged" in verdict([row("best PatternSet", 1.0, nan), rival], True)
    assert "Every opponent diverged" in verdict([found, row("rival", 2.0, nan)], True)


def test_the_table_of_another_best_trial_is_not_shown(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = search(out, trials=4)
    assert "fresh seeds" in report_of(out)
    (out / "table.json").write_text((out / "table.json").read_text().replace('"trial": ', '"trial": 9'))
    assert "fresh seeds" not in report_of(out)
    assert search(out, trials=4, fresh_seeds=0).best == first.best
    assert not (out / "table.json").exists()
    assert not (out / "report.md").exists()
    task = FakeTask()
    assert search(out, task, trials=4).rows == first.rows  # made again from what the ledger holds
    assert task.calls == []
    assert "fresh seeds" in report_of(out)


def report_of(out: Path) -> str:
    console = Console(record=True, file=io.StringIO(), width=120)
    config, reader = stored_config(out), LedgerReader(out)
    assert config is not None
    print_report(console, out, reader, config)
    reader.close()
    return console.export_text()


def test_what_stands_in_brackets_is_no_markup(tmp_path: Path) -> None:
    console = Console(record=True, file=io.StringIO(), width=100)
    task = FakeTask(lambda call: ValueError("no file [/data/x.txt] in [a, b]") if call in (1, 3) else None)
    search(tmp_path / "run", task, trials=2, fresh_seeds=0, observers=[ProgressLine(console, "into [/x]", 2)])
    assert "into [/x]" in console.export_text(clear=False)
    assert "ValueError: no file [/data/x.txt] in [a, b]" in console.export_text()


def test_an_engine_may_be_named_and_anything_else_is_refused(tmp_path: Path) -> None:
    assert search(tmp_path / "run", trials=2, fresh_seeds=0, engine="in-process").reward > 0
    for engine, match in (("threads", "Expected one of in-process"), (2, "Expected an EngineConfig, one of")):
        with pytest.raises(ValueError, match=match):
            search(tmp_path / "other", engine=engine)
        assert not (tmp_path / "other").exists()


def test_one_seed_is_no_verdict() -> None:
    assert verdict([row("best PatternSet", 1.0), row("rival", 2.0)], True).startswith("One seed tells nothing")


def test_the_report_and_the_progress_lines_read_well(tmp_path: Path) -> None:
    console = Console(record=True, width=100, force_terminal=False)
    search(tmp_path / "run", observers=[ProgressLine(console, "fake: 20 trials", 20)], trials=20)
    config = stored_config(tmp_path / "run")
    assert config is not None
    reader = LedgerReader(tmp_path / "run")
    print_report(console, tmp_path / "run", reader, config)
    reader.close()
    text = console.export_text()
    assert "20/20  trial 20: reward" in text
    assert "trials: 20 finished" in text
    assert "best PatternSet" in text
    assert max(map(len, text.splitlines())) <= 100
