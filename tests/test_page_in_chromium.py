"""The page of a run in a real browser: masks on a click, keys, nothing fetched, nothing complained of."""

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest

import tf_autodropout as tad
from tests.chromium import Visit, browser
from tests.site_lists import wide_resnet_sites
from tests.test_page import HOSTILE, run
from tf_autodropout.masks import drop_probability
from tf_autodropout.patterns import ConvPattern
from tf_autodropout.patterns.pattern_set import pattern_to_dict
from tf_autodropout.search.ledger import Ledger
from tf_autodropout.search.ledger.schema import digest
from tf_autodropout.search.page import page
from tf_autodropout.search.page.document import _pattern
from tf_autodropout.search.searchers import RandomSearch
from tf_autodropout.search.space import CONV_GRID, TRANSFORMER_GRID, SearchSpace

pytestmark = pytest.mark.slow
__all__ = ["run"]  # the fixture


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(run, tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("html") / "run.html"
    page(run).save(file)
    return file.as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_a_click_shows_a_trial_and_its_masks(chromium, address, width, scheme) -> None:
    visit = Visit(chromium, address, width, color_scheme=scheme)
    see = visit.page
    see.get_by_role("button", name="show trial 5", exact=True).click()
    assert see.inner_text("#trial h2") == "Trial 5"
    rows = see.locator("#trial .sites > li")
    assert rows.count() == 4
    assert rows.nth(0).locator(".site").inner_text() == HOSTILE  # text, not markup
    drawn = see.locator("#trial canvas.mask")
    assert drawn.count() == 3 * sum(1 for i in range(4) if "no pattern" not in rows.nth(i).inner_text())
    colours = see.evaluate(
        """() => [...document.querySelectorAll('#trial canvas.mask')].map((canvas) => {
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return new Set(Array.from({length: data.length / 4}, (_, i) => data.slice(4 * i, 4 * i + 3).join())).size;
        })"""
    )
    assert min(colours) >= 1
    assert max(colours) >= 2  # dropped and kept
    assert see.locator("#curves canvas").count() == 1

    # A click on the dot of a trial, where the chart has drawn it.
    see.evaluate("select(run.indexOf(1))")
    place = see.evaluate("rewardChart.convertToPixel('grid', [T.order[11], T.reward[11]])")
    box = see.locator("#rewards").bounding_box()
    see.locator("#rewards").scroll_into_view_if_needed()
    box = see.locator("#rewards").bounding_box()
    see.mouse.click(box["x"] + place[0], box["y"] + place[1])
    assert see.inner_text("#trial h2").startswith("Trial 12")

    # No dropout is a line where it is, and not where two digits would put it.
    line = see.evaluate(
        """() => {
            const value = 0.9 * run.best.reward + 0.00345;
            run.without = [value];
            drawRewards();
            const lines = rewardChart.getZr().storage.getDisplayList().filter((one) => one.shape && one.shape.y1 > 0);
            const there = rewardChart.convertToPixel('grid', [1, value])[1];
            return Math.min(...lines.map((one) => Math.abs(one.shape.y1 - there)));
        }"""
    )
    assert line < 0.01

    # By keyboard, in the order of finishing.
    see.evaluate("document.activeElement.blur()")
    see.keyboard.press("ArrowLeft")
    assert see.inner_text("#trial h2").startswith("Trial 11")
    see.keyboard.press("b")
    assert "best" in see.inner_text("#trial h2")
    assert see.evaluate("location.hash").startswith("#trial=")

    see.locator("#decisions button").first.click()  # dots coloured by a decision
    assert see.locator("#decisions .means").count() == 1
    see.select_option("#status", "invalid")
    assert see.locator("#trials tbody tr").count() == 1
    see.locator("#trials tbody button").click()
    assert HOSTILE in see.inner_text("#trial .error")
    see.fill("#find", "17")
    assert see.locator("#trials tbody tr").count() == 0
    see.click("#theme")
    assert see.evaluate("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways
    assert see.evaluate("window.hacked") is None
    assert visit.said == []
    assert visit.fetched == [address]
    see.close()


@pytest.mark.parametrize(("width", "axes"), [(1400, 8), (390, 6)])
def test_each_trial_is_a_line_through_its_decisions(chromium, address, width: int, axes: int) -> None:
    visit = Visit(chromium, address, width)
    see = visit.page
    assert "finished trials" in see.inner_text("#parallel-note")
    found = see.evaluate(
        """() => {
            const {parallelAxis, parallel, series} = parallelChart.getOption();
            const places = run.importance.decisions.map((one) => one.place);
            const lines = series.filter((one) => one.id !== "selected").flatMap((one) => one.data);
            const wrong = lines.filter((line) => {
                const i = line.at(-1), tokens = places.map((place) => T.tokens[i].charCodeAt(place) - 48);
                return line.at(-2) !== T.reward[i] || line.slice(0, -2).some((x, n) => Math.round(x) !== tokens[n]);
            });
            return {axes: parallelAxis.length, layout: parallel[0].layout, lines: lines.length, wrong: wrong.length};
        }"""
    )
    finished = see.evaluate("T.status.filter((one) => one === 'finished').length")
    layout = "vertical" if width == 390 else "horizontal"
    assert found == {"axes": axes, "layout": layout, "lines": finished, "wrong": 0}
    assert finished > 20

    # What was dragged along an axis stays when another trial is shown.
    see.evaluate(
        "parallelChart.dispatchAction({type: 'axisAreaSelect', parallelAxisIndex: 0, intervals: [[-0.4, 0.4]]})"
    )
    kept = "parallelChart.getModel().getComponent('parallelAxis', 0).activeIntervals"
    assert see.evaluate(kept) == [[-0.4, 0.4]]
    see.get_by_role("button", name="show trial 5", exact=True).click()
    assert see.evaluate(kept) == [[-0.4, 0.4]]
    selected = (
        "parallelChart.getOption().series.find((one) => one.id === 'selected').data.map((one) => T.number[one.at(-1)])"
    )
    assert see.evaluate(selected) == [5]
    see.evaluate("drawParallel()")

    # A click on a line, where the chart has drawn one, shows its trial.
    see.locator("#parallel").scroll_into_view_if_needed()
    box = see.locator("#parallel").bounding_box()
    there = see.evaluate(
        """() => {
            const zr = parallelChart.getZr();
            for (let x = 60; x < zr.getWidth() - 60; x += 7) {
                for (let y = 90; y < zr.getHeight() - 40; y += 1) {
                    const {target} = zr.handler.findHover(x, y);
                    if (target && target.shape && target.shape.points) return [x, y];
                }
            }
        }"""
    )
    see.mouse.click(box["x"] + there[0], box["y"] + there[1])
    assert see.inner_text("#trial h2") not in ("Trial 5", "")
    assert visit.said == []
    see.close()


def test_axe_finds_nothing(chromium, address) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe looks at the page")
    script = next(Path(axe.__file__).parent.glob("*.js")).read_text("utf-8")
    for scheme, width in itertools.product(("light", "dark"), (1400, 390)):
        # The page lets no other script in: that is for the test alone.
        see = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
        see.goto(address)
        see.wait_for_selector("html[data-ready]", state="attached")
        see.evaluate(script)
        found = see.evaluate("axe.run().then((all) => all.violations.map((one) => [one.id, one.nodes[0].html]))")
        assert found == []
        see.close()


def all_patterns():
    """Patterns of the whole grids, rates besides, with shapes of one to three axes."""
    rng = np.random.default_rng(0)
    for _ in range(120):
        chosen = {name: values[rng.integers(len(values))] for name, values in TRANSFORMER_GRID.items()}
        t, c = [(16, 6), (33, 9), (512, 600)][rng.integers(3)]
        yield tad.TransformerPattern(**chosen | {"size": t if chosen["size"] == "all" else chosen["size"]}), (t, c)
    for _ in range(240):
        chosen = {name: values[rng.integers(len(values))] for name, values in CONV_GRID.items()}
        shape = [(12, 12, 5), (9, 14, 3), (32, 32, 4), (4, 9, 9, 2), (20, 4)][rng.integers(5)]
        if len(shape) == 2:
            chosen |= {"rotate": 0, "shear_x": 0, "shear_y": 0}
        cells = {
            name: max(1, round(chosen[name] * min(shape[:-1]))) if chosen[name] else 0 for name in ("size", "stride")
        }
        yield ConvPattern(**chosen | cells, rate=float(rng.choice([1.0, 0.5]))), shape
    yield ConvPattern(size="1/4", stride="1/8", repeat=2, rotate=20), (24, 16, 3)
    yield ConvPattern(size=(3, 5), rate=0.7), (12, 12, 4)
    yield ConvPattern(size=40), (12, 12, 4)


def test_the_masks_of_the_page_are_those_of_keep_mask_to_the_bit(chromium, address) -> None:
    see = Visit(chromium, address).page
    some = 0
    for seed, (pattern, shape) in enumerate(all_patterns()):
        coded = _pattern(json.dumps(pattern_to_dict(pattern)), shape[:-1])
        if pattern.is_identity:
            assert coded is None
            continue
        mask = np.broadcast_to(tad.keep_mask(pattern, (1, *shape), seed).numpy(), (1, *shape))[0]
        channel = shape[-1] - 1
        if isinstance(pattern, ConvPattern):
            got = see.evaluate("([p, s, seed, c]) => [...Masks.draw(p, s, seed, c)]", [coded, shape, seed, channel])
            assert np.array_equal(np.reshape(got, shape[:-1]), 1 - mask[..., channel]), (pattern, shape, seed)
        else:
            got = see.evaluate("([p, s, seed]) => [...Masks.draw(p, s, seed, 0, 4)]", [coded, shape, seed])
            assert np.array_equal(np.reshape(got, (shape[0], 4)), 1 - mask[:, :4]), (pattern, shape, seed)
        chance = see.evaluate("([p, s]) => Masks.chance(p, s).drop", [coded, shape])
        assert chance == pytest.approx(float(drop_probability(pattern, shape[:-1]).flat[0]), rel=1e-6)
        some += bool(np.any(got))
    assert some > 150
    see.close()


def test_a_page_at_work_loads_itself_until_it_is_told_not_to(chromium, run, tmp_path) -> None:
    made = page(run).html.replace('"watch":null', '"watch":1')
    (tmp_path / "run.html").write_text(made, "utf-8")
    visit = Visit(chromium, (tmp_path / "run.html").as_uri() + "#trial=4")
    visit.page.wait_for_timeout(2500)
    assert len(visit.fetched) >= 2
    visit.page.wait_for_selector("html[data-ready]", state="attached")
    assert visit.page.inner_text("#trial h2").startswith("Trial 4")  # where one was
    visit.page.get_by_role("button", name="Pause").click()
    loaded = len(visit.fetched)
    visit.page.wait_for_timeout(2500)
    assert len(visit.fetched) == loaded
    assert visit.said == []
    visit.page.close()


def test_a_notebook_shows_it_in_a_frame_that_reaches_nothing(chromium, run, tmp_path) -> None:
    (tmp_path / "notebook.html").write_text(f"<!doctype html><body>{page(run)._repr_html_()}</body>", "utf-8")
    see = chromium.new_page()
    said: list[str] = []
    see.on("console", lambda message: said.append(message.text))
    see.on("pageerror", lambda error: said.append(str(error)))
    see.goto((tmp_path / "notebook.html").as_uri())
    frame = see.frame_locator("iframe")
    frame.locator("#trial canvas.mask").first.wait_for()
    frame.get_by_role("button", name="show trial 2", exact=True).click()
    assert frame.locator("#trial h2").inner_text().startswith("Trial 2")
    assert said == []
    see.close()


@pytest.mark.parametrize(("trials", "megabytes"), [(512, 3), (16_384, 20)])
def test_a_large_run_opens(chromium, tmp_path, trials, megabytes) -> None:
    """Says how long it takes; the bars, on a quiet machine, are 2 seconds for 512 trials and 8 for 16,384."""
    space = SearchSpace(wide_resnet_sites(16, 2))
    decisions = [f"{d.group} {d.token}" for d in space.decisions]
    config = {"task": {"name": "fake", "space": space.describe() | {"decisions": decisions}}}
    ledger = Ledger(tmp_path / "run", config | {"searcher": {"name": "random"}, "seed": 0}, {"trials": trials})
    rng = np.random.default_rng(0)
    ledger.add((one, space.decode(one.tokens)) for one in RandomSearch(space, 0).suggest(trials))
    outcomes = [
        ("finished", float(rng.random()), "{}", json.dumps(rng.random(16).tolist()), n) for n in range(1, trials + 1)
    ]
    with ledger._transaction():  # one for all: it is the page that is timed
        ledger._db.executemany(
            "UPDATE trials SET status = ?, reward = ?, metrics = ?, learning_curve = ?, finish_order = ?,"
            " outcome_digest = ?, started_at = 1, finished_at = 2 WHERE number = ?",
            [(*came, digest(*came), came[-1]) for came in outcomes],
        )
    ledger.close()
    page(tmp_path / "run").save(tmp_path / "run.html")
    size = (tmp_path / "run.html").stat().st_size
    assert size < megabytes * 1e6
    begin = time.perf_counter()
    visit = Visit(chromium, (tmp_path / "run.html").as_uri())
    print(f"{trials} trials: {size / 1e6:.2f} MB, open in {time.perf_counter() - begin:.2f} s")
    visit.page.get_by_role("button", name="show trial 20", exact=True).click()
    assert visit.page.inner_text("#trial h2") == "Trial 20"
    assert visit.said == []
    visit.page.close()
