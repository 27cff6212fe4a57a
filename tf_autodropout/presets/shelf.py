"""The presets: a JSON file each, beside this one, named for the preset.

Two kinds are on the shelf: classics as members of the pattern space, and what searches of this project found
(`-found-`), each with its provenance: task, data, searcher, seeds, paired leads with their intervals, what it was worth
on networks that it was not found on, and "not run" for what was not. None of them is the paper's.

How to carry one to another network: the keys of those for Transformers are roles (kinds of sites, `ffn`), so
`tad.regularize(model, NAME)` puts them at every site of that role, at all layers. Sizes and strides are in tokens and
stay, and what covers a whole sequence covers every one; where patterns shall grow with the sequence, `scale` the set.
Those for ConvNets have globs (`*`), or the sites of the network in their provenance: `tad.transfer` carries these to
deeper, wider and larger networks of the family, sizes in proportion to the maps.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import invalid

_SUFFIX = ".json"
_NOT_RUN = "not run"
_HEADINGS = (
    "preset",
    "made by",
    "task",
    "test score",
    "lead over the tuned classic",
    "lead over the closest rival",
    "on other networks",
)


def names() -> tuple[str, ...]:
    """Returns the names of the presets, sorted.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.presets.names()[-1]
        'wide-resnet-drop-path-0.1'
    """
    shelf = files("tf_autodropout.presets")
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in shelf.iterdir() if file.name.endswith(_SUFFIX)))


def load(name: str) -> PatternSet:
    """Returns a preset; its `provenance` tells where it comes from and what was measured with it.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: no such preset.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.presets.load("transformer-dropout-0.1")["ffn"]
        TransformerPattern(size=1, stride=0, share_t=False, share_c=False, rate=0.1)
    """
    if name not in names():
        raise invalid("name", f"one of {', '.join(names())}", name)
    file = files("tf_autodropout.presets") / f"{name}{_SUFFIX}"
    return PatternSet.from_json(file.read_text(encoding="utf-8"), where=f"preset '{name}'")


def table() -> None:
    """Prints the presets with their provenance, a line each.

    A lead is the mean of the paired differences over the same seeds, positive where the preset is better, with its 95 %
    interval and the p of the sign-flip test: over the tuned classic that validation chose, and over the closest of all
    rivals, the best classic on test, TrivialPattern and random PatternSets among them.

    Example:
        >>> import tf_autodropout as tad
        >>> tad.presets.table()
        preset  made by  task  test score  lead over the tuned classic  lead over the closest rival  on other networks
        ...
        wide-resnet-drop-path-0.1  drop_path(0.1)  -  not run  -  -  not run
    """
    rows = [_HEADINGS, *(_line(name, load(name).provenance) for name in names())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _line(name: str, notes: Mapping[str, Any]) -> Sequence[str]:
    if "leads" not in notes:  # a classic
        measured = f"{notes['test_perplexity']:.2f} ± {notes['spread']:.2f}" if notes["measured"] else _NOT_RUN
        return name, notes["member"], notes["task"] or "-", measured, "-", "-", _NOT_RUN
    made_by = f"{notes['searcher']}, seed {notes['search_seed']}, trial {notes['trial']} of {notes['trials']}"
    leads, elsewhere = list(notes["leads"].values()), notes["elsewhere"]
    closest = min((lead for lead in leads if lead["mean"] is not None), key=lambda lead: lead["mean"], default=leads[0])
    there = _NOT_RUN
    if not isinstance(elsewhere, str):
        there = "; ".join(
            f"{one['network'].split(',')[0]}: {_lead(lead)}" for one in elsewhere for lead in one["leads"]
        )
    score = f"{notes['test']:.2f} ± {notes['spread']:.2f}, {len(notes['seeds'])} seeds"
    return name, made_by, notes["task"], score, _lead(leads[0]), _lead(closest), there


def _lead(lead: Mapping[str, Any]) -> str:
    if lead["mean"] is None:
        return f"diverged, against {lead['over']}"
    interval = "" if lead["low"] is None else f" [{lead['low']:+.2f}, {lead['high']:+.2f}]"
    return f"{lead['mean']:+.2f}{interval}, p {lead['p']:.3g}, over {lead['over']}"
