"""What is seen of a search while it runs: on terminals of any width and ground, in a notebook, and elsewhere."""

import io
import itertools
import re
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from rich.color import ColorType
from rich.console import Console

from tests.pseudo_terminal import screen, spoken
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import INPUT_SHARE, Status, Suggestion, Trial
from tf_autodropout.search.terminal.console import ACCENT, make_console
from tf_autodropout.search.terminal.figures import Figures
from tf_autodropout.search.terminal.live_line import Line, Part
from tf_autodropout.search.terminal.progress import ProgressLine
from tf_autodropout.search.terminal.step_line import StepLine
from tf_autodropout.search.terminal.words_line import WordsLine

ROOT = Path(__file__).parents[1]
# A search of twelve trials, the fourth of which fails, with what comes before and after it.
SEARCH = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tf_autodropout.patterns import PatternSet
from tf_autodropout.search.core import INPUT_SHARE, Status, Suggestion, Trial
from tf_autodropout.search.terminal.console import make_console
from tf_autodropout.search.terminal.progress import ProgressLine
from tf_autodropout.search.terminal.step_line import StepLine
from tf_autodropout.search.terminal.words_line import WordsLine

with ProgressLine(make_console(), "digits: 12 trials by thompson, seed 0, into runs/digits", 12) as line:
    line.training("no dropout, as trial 0")
    line.resumed(0, None, None)
    for number in range(1, 13):
        status = Status.FAILED if number == 4 else Status.FINISHED
        reward = None if number == 4 else 0.8 + number / 100
        metrics = {{INPUT_SHARE: 0.25}} | ({{"error": "ValueError: [no] such file"}} if number == 4 else {{}})
        line.trial_finished(Trial(number, Suggestion((), 0.0, 0), PatternSet({{}}), status, 1, reward, metrics))
        line.updated(number, {{"baseline": 0.85}})
    line.close()
    line.training("no dropout, on fresh seed 1")
print("the end")
"""


def trial(number: int, reward: float | None = 0.5, status: Status = Status.FINISHED, **metrics) -> Trial:
    return Trial(number, Suggestion((), 0.0, 0), PatternSet({}), status, 1, reward, metrics)


def test_speed_and_time_left_are_those_of_this_session_and_of_late() -> None:
    now = [0.0]
    figures = Figures(100, lambda: now[0])
    now[0] = 50.0
    figures.begin(20, 0.9, 0.4)  # trials of before tell nothing
    assert (figures.an_hour, figures.left) == (None, None)
    now[0] += 40  # the first one compiles
    figures.add(trial(21))
    assert figures.an_hour == pytest.approx(90)
    for number in range(22, 88):
        now[0] += 10
        figures.add(trial(number))
    assert figures.an_hour == pytest.approx(360)  # and is forgotten
    assert figures.left == pytest.approx((100 - figures.done) * 10)
    now[0] += 640  # one that hangs slows it
    assert figures.an_hour == pytest.approx(180)
    assert (figures.best, figures.baseline) == (0.9, 0.4)
    for number in range(88, 101):
        figures.add(trial(number))
    ended = figures.elapsed
    now[0] += 1000
    assert figures.elapsed == ended


def test_the_sparkline_rises_with_the_rewards() -> None:
    figures = Figures(100)
    assert figures.sparkline(8) == ""
    for number in range(8):
        figures.add(trial(number, number / 10))
    figures.add(trial(8, None, Status.FAILED))
    figures.add(trial(9, 0.1, Status.STOPPED))  # an expected reward is no measured one
    assert figures.sparkline(8) == "▁▂▃▄▅▆▇█"
    assert figures.sparkline(4) == "▁▃▆█"  # means of pairs
    flat = Figures(3)
    flat.add(trial(1))
    assert len(flat.sparkline(8)) == 1


def test_a_line_fits_whatever_the_width_and_what_matters_stays() -> None:
    parts = [
        Part("12/16384", 0),
        Part("▂▅█", 3),
        Part("best 0.9123", 1),
        Part("baseline 0.8", 4),
        Part("9 min left", 2),
    ]
    line = Line(parts, 0.5)
    for width in range(1, 120):
        text = line.fitted(width).plain
        assert len(text) <= width
        assert "\n" not in text
    assert re.fullmatch("12/16384  [━─]{10}", line.fitted(20).plain)
    assert line.fitted(24).plain == "12/16384  best 0.9123"
    assert line.fitted(40).plain == "12/16384  ▂▅█  best 0.9123  9 min left"
    assert "━━━" in line.fitted(80).plain
    assert line.fitted(80, utf8=False).plain.isascii()
    assert Line((Part("a" * 50, 0),)).fitted(10).plain == "a" * 10
    assert "\x1b" not in Line((Part("site \x1b]0;x\x07\nof two", 0),)).fitted(60).plain


@pytest.mark.parametrize("columns", [80, 40])
def test_on_a_terminal_one_line_changes_in_place(columns: int) -> None:
    said = spoken(SEARCH, columns)
    shown = screen(said, columns)
    assert max(map(len, shown)) <= columns
    text = "\n".join(shown)
    assert len(re.findall(r"^12/12", text, re.MULTILINE)) == 1  # and none of those before it
    assert not re.search(r"^\d?\d/12(?<!12/12)", text, re.MULTILINE)
    (line,) = [one for one in shown if one.startswith("12/12")]
    assert "best 0.9200" in line
    assert "in 0 s" in line
    assert re.search("[▁▂▃▄▅▆▇█]{10}", line)
    for detail in ("baseline 0.8500", "/h", "input 25%"):
        assert (detail in line) == (columns == 80), detail
    assert "retraining" not in text  # it is over
    assert "retraining 1: no dropout, on fresh" in said
    assert " ".join(text.split()).startswith("digits: 12 trials by thompson, seed 0, into runs/digits trial 4 failed: ")
    assert "[no] such file" in " ".join(text.split())
    assert shown[-2:] == ["the end", ""]
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h")  # the cursor is there again


def test_colours_can_be_read_on_dark_and_on_light_terminals() -> None:
    said = spoken(SEARCH, 80, {"COLORTERM": "truecolor"})
    colours = set(re.findall(r"\x1b\[((?:\d+;)*(?:38|48);2;[\d;]+)m", said))
    assert colours  # the bar
    for codes in re.findall(r"\x1b\[([\d;]+)m", said):
        plain = re.sub(r"38;2;\d+;\d+;\d+", "", codes)
        assert not set(plain.split(";")) & {"33", "36", "37", *map(str, range(90, 98)), "38", "48"}, codes
    assert {tuple(map(int, one.split(";")[-3:])) for one in colours} == {rgb(ACCENT)}
    for ground in ("#ffffff", "#000000", "#1e1e1e", "#fdf6e3"):
        assert contrast(rgb(ACCENT), rgb(ground)) > 3
    assert "\x1b[38" not in spoken(SEARCH, 80, {"TERM": "xterm"})  # 16 colours, of which none suits all
    assert not re.search(r"\x1b\[[\d;]*3[0-8]", spoken(SEARCH, 80, {"NO_COLOR": "1"}))


def rgb(colour: str) -> tuple[int, int, int]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))  # type: ignore[return-value]


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """As WCAG 2.1 defines it."""

    def luminance(colour: tuple[int, int, int]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_styles_of_tables_and_texts_have_no_colour_that_one_ground_hides() -> None:
    console = make_console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for name in (
        "markdown.h1",
        "markdown.table.border",
        "repr.number",
        "progress.elapsed",
        "table.header",
        "status.spinner",
    ):
        style = console.get_style(name)
        if style.color is not None and style.bgcolor is None:
            assert style.color.type is not ColorType.STANDARD or style.color.number in (1, 2, 4, 5), name
    console.print("trials: 3 finished, 0.5 of [b]all[/b], 'text' None True https://example.org /a/b")
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert set(re.findall(r"\x1b\[([\d;]+)m", said)) == {"1", "0"}


def test_elsewhere_each_training_has_a_line() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    ticks = itertools.count(0, 2)
    line = ProgressLine(console, "title", 3, clock=lambda: next(ticks))
    with line:
        line.training("no dropout, as trial 0")
        line.resumed(0, None, None)
        line.trial_finished(trial(1, 0.5))
        line.trial_finished(trial(2, None, Status.FAILED, error="ValueError: no"))
        line.updated(1, {"baseline": 0.25})
        line.trial_finished(trial(3, 0.75, **{INPUT_SHARE: 0.5}))
        line.close()
        line.training("Dropout(0.1), on fresh seed 1")
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[:2] == ["no dropout, as trial 0", "title"]
    assert re.fullmatch(r"1/3  trial 1: reward 0.5000  best 0.5000  \d+ s left  \d+/h", lines[2])
    assert lines[3] == "trial 2 failed: ValueError: no"
    wanted = r"3/3  trial 3: reward 0.7500  best 0.7500  baseline 0.2500  in \d+ s  \d+/h  input 50%"
    assert re.fullmatch(wanted, lines[4])
    assert lines[5:] == ["retraining 1: Dropout(0.1), on fresh seed 1"]


def test_quiet_writes_nothing_and_two_is_a_line_each() -> None:
    for verbose, written in ((0, 0), (1, 2), (2, 2)):
        console = Console(file=io.StringIO(), width=100, force_terminal=verbose == 2)
        with ProgressLine(console, "title", 2, verbose) as line:
            line.resumed(0, None, None)
            line.trial_finished(trial(1))
        said = console.file.getvalue()  # type: ignore[attr-defined]
        assert said.count("\n") == written
        assert "\x1b[?25l" not in said


def test_in_a_notebook_one_line_changes_in_place(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell(textwrap.dedent(SEARCH))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [
        out.data
        for out in cell.outputs
        if out.output_type == "display_data" and 'role="status"' in out.data.get("text/html", "")
    ]
    lines = [one["text/plain"] for one in shown]
    (line,) = [one for one in lines if one.startswith("12/12")]
    assert "best 0.9200  baseline 0.8500" in line
    assert "input 25%" in line
    assert '<progress max="1" value="1.0000"' in next(one["text/html"] for one in shown if line == one["text/plain"])
    assert lines == [line]  # what came before and after has gone away
    assert any("[no] such file" in str(out) for out in cell.outputs)


# Of commands that train one child, or work through a list.
CHILD = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tf_autodropout.search.terminal.console import make_console
from tf_autodropout.search.terminal.step_line import StepLine
from tf_autodropout.search.terminal.words_line import WordsLine

with StepLine(make_console()) as line:
    for step in range(1, 51):
        line(step, 50, 2 / step)
with WordsLine(make_console()) as words:
    words.tell("table1/[cifar10], seed 0")
    words.step(3, 9, 0.5)
print("the end")
"""


def test_the_lines_of_other_commands_change_in_place_and_go_away() -> None:
    said = spoken(CHILD, 60)
    assert [one for one in screen(said, 60) if one] == ["table1/[cifar10], seed 0", "the end"]
    assert "loss 0.042" in said
    assert "scoring" in said
    assert "step 3 of 9, loss 0.500" in said


def test_elsewhere_they_print_some_lines_and_none_if_quiet() -> None:
    for quiet in (False, True):
        console = Console(file=io.StringIO(), width=80, force_terminal=quiet)
        with StepLine(console, quiet) as line, WordsLine(console, quiet) as words:
            for step in range(1, 51):
                line(step, 50, 2 / step)
            words.tell("table1/[cifar10]: left out. no data")
            words.step(3, 9, 0.5)
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        if quiet:
            assert lines == []
        else:
            assert lines[0] == "5/50  loss 0.400"
            assert lines[9:] == ["50/50  loss 0.040", "table1/[cifar10]: left out. no data"]
