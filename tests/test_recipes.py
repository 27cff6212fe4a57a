"""The recipes as data: names, sources, scales; files of results, the table; what is said where something is wrong."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import tf_autodropout as tad
from tf_autodropout.search.recipes.carrying import carry, load_patterns
from tf_autodropout.search.recipes.data_sets import DATA_SETS, DataMissing, folder, is_there
from tf_autodropout.search.recipes.optimizer import make_optimizer, make_schedule
from tf_autodropout.search.recipes.paper_table import table_lines, write_paper_table
from tf_autodropout.search.recipes.recipe import SCALES, SEARCH, Setting
from tf_autodropout.search.recipes.registry import RECIPES, TABLES, find, of_table
from tf_autodropout.search.recipes.reproduce import reproduce
from tf_autodropout.search.recipes.rows import RowResult, load_rows, row_file
from tf_autodropout.search.recipes.train_recipe import TooLittleMemory, make_training
from tf_autodropout.search.terminal.cli import main

FINALS = [recipe for recipe in RECIPES.values() if recipe.kind != SEARCH]


def test_the_tables_have_the_rows_that_the_authors_ran() -> None:
    rows = {table: {(r.place, r.row) for r in of_table(table)} for table in TABLES}
    classics = {"No noise", "Dropout", "DropBlock", "Stochastic Depth", "DropPath", "AutoDropout"}
    for place in ("cifar10", "resnet50", *(f"efficientnet-{variant}" for variant in ("b0", "b3", "b5", "b7"))):
        assert {row for where, row in rows["table1"] if where == place} >= classics
    searches = {recipe.place for recipe in RECIPES.values() if recipe.kind == SEARCH}
    assert searches == {"cifar10", "resnet50", "efficientnet-b0", "cifar10-4000", "ptb"}
    mixing = {"Mixup", "CutMix", "Manifold Mixup", "MoEx", "RandAugment", "CutMix + RandAugment"}
    for place in ("cifar10", "resnet50"):
        assert {row for where, row in rows["table2"] if where == place} == mixing | {"AutoDropout + RandAugment"}
    assert {("cifar10-4000", "UDA"), ("imagenet-10pct", "UDA + AutoDropout")} <= rows["table3"]
    for place in ("ptb", "wikitext-2", "iwslt14", "wmt14"):
        assert {"No noise", "Dropout", "Variational Dropout", "DropPath", "AutoDropout"} <= {
            row for where, row in rows["table4"] if where == place
        }


@pytest.mark.parametrize("name", RECIPES)
def test_every_number_names_its_source_and_every_scale_has_a_plan(name: str) -> None:
    recipe = find(name)
    assert all(isinstance(setting, Setting) for setting in recipe.settings.values())
    for scale in SCALES:
        plan = recipe.at(scale)
        assert plan["steps"] >= 1
        assert plan.get("data", recipe.data) in DATA_SETS
    if recipe.training in ("images", "uda", "text", "translation"):
        make_optimizer(recipe.at("full"))
    assert name.partition("/")[2] in recipe.command()


def test_a_number_without_a_source_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected 'paper'"):
        Setting(1, "somewhere")


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("table1/cifar10/no-noise", {0: 0.1, 39_100: 0.05, 78_200: 0.0}),
        ("table1/resnet50/no-noise", {0: 0.0, 6_255: 0.4, 37_000: 0.4, 38_000: 0.04, 76_000: 0.004, 101_000: 0.0004}),
        ("table1/efficientnet-b0/no-noise", {1_564: 0.064 * 0.97, 3_128: 0.128 * 0.97**2, 218_949: 0.128 * 0.97**145}),
        ("table3/cifar10-4000/uda", {0: 0.03, 500_000: 0.03 * np.cos(7 * np.pi / 16)}),
        ("table4/iwslt14/dropout", {2_000: 2.5e-4, 4_000: 5e-4, 16_000: 2.5e-4}),
    ],
)
def test_learning_rates_are_those_of_the_public_recipes(name: str, points: dict[int, float]) -> None:
    schedule = make_schedule(find(name).at("full"))
    for step, rate in points.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=0.02, abs=1e-6)


def test_the_average_of_the_weights_and_clipping_are_keras_own() -> None:
    config = make_optimizer(find("table3/cifar10-4000/uda").at("full")).get_config()
    assert (config["use_ema"], config["ema_momentum"]) == (True, 0.9999)
    assert make_optimizer(find("table1/cifar10/no-noise").at("full")).get_config()["global_clipnorm"] == 5.0
    assert make_optimizer(find("table4/iwslt14/dropout").at("full")).get_config()["weight_decay"] == 1e-4


def test_globs_choose_rows() -> None:
    assert [recipe.row for recipe in of_table("table3", ["imagenet-10pct/*"])][:2] == ["Supervised", "UDA"]
    with pytest.raises(ValueError, match="Invalid value for 'rows'"):
        of_table("table1", ["mnist/*"])
    with pytest.raises(ValueError, match="Invalid value for 'table'"):
        of_table("table5")


def result(name: str, seed: int, score: float) -> RowResult:
    return RowResult(name, "tiny", seed, "generated", {"accuracy": score}, 12.0, plan={"steps": 4})


def test_results_come_back_and_stand_beside_the_papers(tmp_path: Path) -> None:
    rows = [result("table1/cifar10/no-noise", seed, 90 + seed) for seed in range(3)]
    rows += [result("table1/cifar10/dropblock", seed, 91.5 + seed) for seed in range(3)]
    for row in rows:
        row.save(row_file(tmp_path, row.recipe, row.scale, row.seed))
    assert load_rows(tmp_path, "tiny") == sorted(rows, key=lambda row: (row.recipe, row.seed))
    assert load_rows(tmp_path, "full") == []
    write_paper_table(tmp_path / "t.md", "Table 1", of_table("table1"), rows, {"table1/cifar10/droppath": "no data"})
    text = (tmp_path / "t.md").read_text("utf-8")
    assert "| No noise | 96.1 ± 0.12 | 91.00 ± 1.00 | 3 |  | 4 | generated | 12 s |" in text
    assert "| DropBlock | 96.2 | 92.50 ± 1.00 | 3 | +1.50" in text
    assert "| DropPath |  | not run: no data |" in text
    assert "| AutoDropout | 96.8 | not run |" in text
    assert "could not be obtained" in text
    (heading, cells), *_ = table_lines(of_table("table4"), [])
    assert heading.startswith("Penn Treebank")
    assert all(row[2] == "not run" for row in cells)


def test_a_broken_result_says_which_file_it_is(tmp_path: Path) -> None:
    path = row_file(tmp_path, "table1/cifar10/dropblock", "tiny", 0)
    path.parent.mkdir(parents=True)
    path.write_text("{", "utf-8")
    with pytest.raises(ValueError, match=r"result\.json is not the result of a recipe"):
        load_rows(tmp_path, "tiny")


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_missing_data_set_says_what_to_download_to_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataMissing) as error:
        folder(name, tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message
    assert "{" not in message
    assert not is_there(name, tmp_path)


def test_files_in_the_directory_itself_or_in_a_folder_are_found(tmp_path: Path) -> None:
    for name in DATA_SETS["ptb"].files:
        (tmp_path / name).write_text("a b\n", "utf-8")
    assert folder("ptb", tmp_path) == tmp_path
    inner = tmp_path / "wikitext-2"
    inner.mkdir()
    for name in DATA_SETS["wikitext-2"].files:
        (inner / name).write_text("a b\n", "utf-8")
    assert folder("wikitext-2", tmp_path) == inner
    (inner / "wiki.test.tokens").unlink()
    with pytest.raises(DataMissing, match=r"wiki\.test\.tokens missing"):
        folder("wikitext-2", tmp_path)


def test_a_broken_data_set_is_told_from_a_missing_one(tmp_path: Path) -> None:
    for name in DATA_SETS["ptb"].files:
        (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataMissing, match="cannot be read"):
        make_training(find("table4/ptb/no-noise"), "tiny", tmp_path)
    directory = tmp_path / "cifar10" / "3.0.2"
    directory.mkdir(parents=True)
    (directory / "dataset_info.json").write_text("{}", "utf-8")
    with pytest.raises(DataMissing, match="cannot be read"):
        make_training(find("table1/cifar10/no-noise"), "small", tmp_path)


def test_too_little_memory_is_said_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tf_autodropout.search.recipes.train_recipe._free_memory", lambda: 1_000_000)
    with pytest.raises(TooLittleMemory, match="use --scale small"):
        make_training(find("table1/cifar10/no-noise"), "tiny", None)


def test_patterns_come_from_files_runs_and_presets(tmp_path: Path) -> None:
    found = tad.PatternSet({"ffn": tad.members.dropout(0.1)})
    found.save(tmp_path / "best.json")
    assert load_patterns(str(tmp_path)) == load_patterns(str(tmp_path / "best.json")) == found
    assert load_patterns("transformer-word-0.1") == tad.presets.load("transformer-word-0.1")
    with pytest.raises(ValueError, match="Invalid value for 'patterns'"):
        load_patterns("nothing-like-it")
    with pytest.raises(ValueError, match=r"with best\.json"):
        load_patterns(str(tmp_path.parent))


def test_a_set_of_the_proxy_fits_the_full_network_by_itself() -> None:
    small, large = (
        tad.sites(tad.models.wide_resnet(depth, width, (side, side, 3))).as_sites()
        for depth, width, side in ((10, 1, 16), (16, 2, 32))
    )
    shapes = {site.name: list(site.shape) for site in small}
    found = tad.PatternSet({"stage1_block1_bn2": tad.ConvPattern(size=2, stride=1)}, {"sites": shapes})
    larger = tad.ConvPattern(size=4, stride=2)
    assert dict(carry(found, large)) == {"stage1_block1_bn2": larger, "stage1_block2_bn2": larger}
    assert carry(found, small) == found
    roles = tad.PatternSet({"softmax": tad.TransformerPattern(size=2, rate=0.1)}, {"sites": {"softmax": [70, 410]}})
    assert carry(roles, ()) == roles


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command line in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["tf-autodropout", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_line_lists_recipes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "recipes", "table4/ptb/autodropout") == 0
    shown = capsys.readouterr().out
    assert "Transformer-XL, AutoDropout, 54.9" in shown
    assert "batch_size: 16, tiny: 4  [paper]" in shown
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "recipes") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in RECIPES)
    assert "96.1 ± 0.12" in listed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scale", "small", "--data-dir", "."], "tfds build cifar10 --data_dir ."),
        (["--scale", "small"], "needs --data-dir"),
        (["--data-dir", "nowhere"], "a directory that exists"),
        (["--scale", "tiny", "--patterns", "nothing"], "Invalid value for 'patterns'"),
        (["--scale", "tiny", "--rows", "mnist/*"], "Invalid value for 'rows'"),
    ],
)
def test_the_command_line_says_in_one_line_what_is_wrong(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "reproduce", "table1", "--rows", "cifar10/*", "--out", "out", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_rows_whose_data_is_not_there_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Penn Treebank alone, table 4's rows of it are trained; done ones are not trained again."""
    trained: list[tuple[str, int]] = []

    def train(recipe, scale, data_dir, out, found, origin, seed, progress):  # type: ignore[no-untyped-def]
        trained.append((recipe.name, seed))
        row = result(recipe.name, seed, 1.0)
        row.save(row_file(out, recipe.name, scale, seed))
        return row

    monkeypatch.setattr("tf_autodropout.search.recipes.reproduce.train_recipe", train)
    for name in DATA_SETS["ptb"].files:
        (tmp_path / name).write_text("a b\n", "utf-8")
    out, told = tmp_path / "out", []
    reproduce("table4", out, tmp_path, "tiny", seeds=2, tell=told.append)
    assert len(trained) == 8  # four rows without AutoDropout, two seeds
    assert all(name.startswith("table4/ptb/") for name, _ in trained)
    text = (out / "table4-tiny.md").read_text("utf-8")
    assert text.count("not run: no data") == 15
    assert "| AutoDropout | 54.9" in text
    assert "not run: no patterns" in text
    reproduce("table4", out, tmp_path, "tiny", seeds=2)
    assert len(trained) == 8
    reproduce("table4", out, tmp_path, "tiny", rows=["ptb/*"], patterns="transformer-word-0.1")
    assert trained[8:] == [("table4/ptb/autodropout", 0)]
    with pytest.raises(DataMissing, match="wikitext"):
        reproduce("table4", out, tmp_path, "tiny", rows=["wikitext-2/*"])


def test_results_are_json(tmp_path: Path) -> None:
    path = row_file(tmp_path, "table1/cifar10/dropblock", "tiny", 3)
    result("table1/cifar10/dropblock", 3, 50.0).save(path)
    assert json.loads(path.read_text("utf-8"))["scores"] == {"accuracy": 50.0}
    assert sys.getsizeof(path.read_bytes()) < 2_000
