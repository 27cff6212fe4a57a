"""What campaigns give away: the released table, and the zoo, each PatternSet of it tried on other networks.

    python benchmarks/zoo.py runs/campaign             # all of it: about 15 minutes of one quiet core for three runs
    python benchmarks/zoo.py runs/campaign --seeds 0   # without the other networks: seconds

First the table and its card, as by `released_table.py`. Then the presets: a run that has ended with its own table gives
one, `transformer-found-TASK-SEED` or `convnet-found-TASK-SEED`, in tf_autodropout/presets: the PatternSet that its race
called the best, with task, settings, searcher, seeds, and the paired leads over its rivals, as `campaign.py` chooses
them. Sizes that cover the whole sequence of the child cover every sequence.

The other networks, for the roles of Transformers, are causal language models on the text of `pydoc`, whose own child
has 1 layer of 96 features:

- `tad.models.transformer_lm` with 2 layers of 64 features: deeper and narrower;
- GPT-2 of KerasHub, 2 layers of 96 features with tied embeddings.

A preset goes there by roles, as `tad.regularize(model, NAME)` puts it, without a search; what it has to beat are no
dropout and the classic that the campaign's validation chose, carried in the same way, over the same seeds. The figures
go into the preset's file, good or bad. ConvNets have no such trial yet: "not run".

What is trained is kept in `--out`, and a stopped one goes on.
"""

import argparse
import datetime
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from campaign import NONE, rivals
from released_table import PLACE, make_table, runs_in

import tf_autodropout as tad
from tf_autodropout.patterns import PatternSet
from tf_autodropout.patterns.checks import WHOLE
from tf_autodropout.patterns.document import write_text
from tf_autodropout.patterns.seeding import site_seed
from tf_autodropout.search.core import Opponent, Task
from tf_autodropout.search.released.card import DATA
from tf_autodropout.search.results.comparison import FOUND, Row
from tf_autodropout.search.results.finalists import acting
from tf_autodropout.search.results.paired import paired_lead
from tf_autodropout.search.results.report import ROWS
from tf_autodropout.search.results.trainings import FRESH, TRIAL, PastRun
from tf_autodropout.search.tasks.model_task import ModelTask
from tf_autodropout.search.tasks.pydoc import load_corpus
from tf_autodropout.search.tasks.text import TextTask

SHELF = Path(__file__).parents[1] / "tf_autodropout" / "presets"
TUNED = "tuned classic, by validation"  # of `rivals`
LAYERS, HEADS, TOKENS = 2, 4, 32
FEATURES, STEPS, BATCH, RATE = 96, 400, 16, 2e-3  # of GPT-2
NARROW, WIDE_STEPS, WIDE_BATCH = 64, 200, 32  # of the other; both see the text 17 times, as the child of `pydoc` does


def tables_in(directories: list[Path]) -> dict[str, dict[str, Any]]:
    """Returns the final tables of the runs that have one, by the name of the run."""
    files = [file for one in directories for file in one.rglob(ROWS)]
    return {file.parent.name: json.loads(file.read_text("utf-8")) for file in files}


def preset_of(run: PastRun, table: dict[str, Any]) -> tuple[str, PatternSet, PatternSet]:
    """Returns name and PatternSet of the preset of a run, and the patterns of the classic that validation chose."""
    space, lower = run.task.space, table["lower_is_better"]
    rows = [Row.of(row["name"], row["valid"], row["test"]) for row in table["rows"]]
    fresh = [t for t in run.trainings if t.role == FRESH and t.name == f"{FOUND}, trial {table['trial']}"]
    found = next(t for t in run.trainings if t.role == TRIAL and t.trial == table["trial"])
    assert found.patterns is not None
    chosen = rivals(rows, lower)
    leads = {
        what: {"over": row.name} | _told(paired_lead(rows[0].test, row.test, lower)) for what, row in chosen.items()
    }
    classic = next(t.patterns for t in run.trainings if t.role == FRESH and t.name == chosen[TUNED].name)
    assert classic is not None
    roles = all(not site.kind.ON_MAPS for site in space.sites)
    task, seed = run.settings["name"], run.config["seed"]
    notes = {
        "made_by": "found by a search of this project (benchmarks/campaign.py); not from the AutoDropout paper",
        "family": "Transformers; keys are kinds of sites"
        if roles
        else "ConvNets; keys are sites of the task's network, for tad.transfer",
        "space_version": run.config["task"]["space"]["version"],
        "task": task,
        "settings": run.settings,
        "data": DATA.get(task, ""),
        "searcher": run.config["searcher"]["name"],
        "search_seed": seed,
        "trials": sum(t.role == TRIAL for t in run.trainings),
        "trial": table["trial"],
        "score": table["score"],
        "lower_is_better": lower,
        "seeds": [t.seed for t in fresh],
        "test": round(rows[0].mean, 4),
        "spread": round(rows[0].deviation, 4),
        "leads": leads,
        "sites": {site.name: list(site.shape) for site in space.sites},
        "elsewhere": "not run",
        "measured": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, tf_autodropout {run.version}; fresh seeds; a "
        "lead is the mean of the paired differences in units of the score, positive where this PatternSet is better, "
        "with its 95 % BCa interval and the p of the sign-flip test",
    }
    name = f"{'transformer' if roles else 'convnet'}-found-{task}-{seed}"
    return name, PatternSet(_anywhere(found.patterns, run), notes), _anywhere(classic, run)


def _anywhere(patterns: PatternSet, run: PastRun) -> PatternSet:
    """Without what drops nothing; what covers all of the child's sequence covers any."""
    sizes = {site.name: site.sizes for site in run.task.space.sites}
    return PatternSet(
        {
            site: replace(pattern, size=WHOLE, stride=0)  # type: ignore[type-var]
            if not pattern.ON_MAPS and pattern.covers(sizes[site])
            else pattern
            for site, pattern in acting(patterns).items()
        }
    )


def _told(lead: Any) -> dict[str, float | None]:
    return {
        name: None if math.isnan(value) else round(value, 4)
        for name, value in (("mean", lead.mean), ("low", lead.low), ("high", lead.high), ("p", lead.p))
    }


@dataclass(frozen=True)
class Network:
    """A network that no search has seen.

    Args:
        told: What it is, in words; with patterns and seed, what a result is kept by.
        seeds: Number of seeds that all contenders share.
        task: Makes what trains it.
        perplexity: From the task's test score to the perplexity.
    """

    told: str
    seeds: int
    task: Callable[[], Task]
    perplexity: Callable[[float], float]


class Elsewhere:
    """Trains a network with patterns by role, and keeps what came of it.

    Args:
        network: To train.
        store: Directory of the results.
        seeds: At most so many; None for the network's own number.
    """

    def __init__(self, network: Network, store: Path, seeds: int | None = None) -> None:
        self.network, self._store = network, store
        count = network.seeds if seeds is None else min(seeds, network.seeds)
        self.seeds = [site_seed(0, "elsewhere", index) for index in range(count)]

    def scores(self, contenders: dict[str, PatternSet]) -> dict[str, list[float]]:
        """Returns the test perplexities of each contender, one a seed; trained seed by seed: a part of it is paired."""
        rows = [[self._score(name, patterns, seed) for name, patterns in contenders.items()] for seed in self.seeds]
        return dict(zip(contenders, map(list, zip(*rows, strict=True)), strict=True))

    def _score(self, name: str, patterns: PatternSet, seed: int) -> float:
        told = self.network.told
        asked = json.dumps([told, RATE, PatternSet(patterns).to_dict()["patterns"], seed], sort_keys=True)
        file = self._store / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
        if not file.exists():
            scores = self._task.test(Opponent(name, patterns), seed).metrics
            kept = {split: self.network.perplexity(score) for split, score in scores.items()}
            self._store.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps({"name": name, "asked": asked} | kept))
            print(f"  {told.split(',')[0]}: {name}, seed {seed}: {kept['test']:.2f}", flush=True)
        return json.loads(file.read_text("utf-8"))["test"]

    @cached_property
    def _task(self) -> Task:
        return self.network.task()


def deeper() -> TextTask:
    """Returns the task of the network that is deeper than the child of `pydoc`."""
    name = "pydoc, deeper"
    return TextTask(name, load_corpus(), "layer", WIDE_STEPS, WIDE_BATCH, TOKENS, LAYERS, NARROW, HEADS)


def gpt2() -> ModelTask:
    """Returns the task of GPT-2."""
    corpus = load_corpus()
    x, y = windows(corpus.train, 1)
    return ModelTask(
        lambda: language_model(corpus.vocabulary_size),
        x,
        y,
        validation_data=windows(corpus.valid, TOKENS),
        test_data=windows(corpus.test, TOKENS),
        objective="val_loss",
        steps=STEPS,
        batch_size=BATCH,
        validation_batch_size=128,
        name="gpt2",
    )


def language_model(vocabulary_size: int) -> keras.Model:
    """Returns GPT-2 with the head of a language model, compiled."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size, LAYERS, HEADS, FEATURES, 4 * FEATURES, dropout=0.0, max_sequence_length=TOKENS
    )
    ids = keras.Input((TOKENS,), dtype="int32")
    features = backbone({"token_ids": ids, "padding_mask": keras.ops.ones_like(ids)})
    model = keras.Model(ids, backbone.token_embedding(features, reverse=True))
    schedule = keras.optimizers.schedules.CosineDecay(RATE, STEPS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss)
    return model


def windows(tokens: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """All sequences, `stride` tokens apart, and the tokens that follow."""
    places = np.arange(0, len(tokens) - TOKENS, stride)[:, None] + np.arange(TOKENS)
    return tokens[places], tokens[places + 1]


NETWORKS = (
    Network(
        f"transformer_lm of {LAYERS} layers of {NARROW} features, on the text of pydoc, {WIDE_STEPS} steps of "
        f"{WIDE_BATCH} sequences of {TOKENS} tokens",
        6,
        deeper,
        float,
    ),
    Network(
        f"GPT-2 of KerasHub, {LAYERS} layers of {FEATURES} features, on the text of pydoc, {STEPS} steps of {BATCH} "
        f"sequences of {TOKENS} tokens",
        3,
        gpt2,
        math.exp,
    ),
)


def tried(preset: tuple[str, PatternSet], classic: PatternSet, other: Elsewhere) -> dict[str, Any]:
    """Returns what a preset is worth on another network, against no dropout and the classic of its campaign."""
    name, patterns = preset
    over = patterns.provenance["leads"][TUNED]["over"]
    scores = other.scores({name: patterns, over: classic, NONE: PatternSet({})})
    found = scores.pop(name)
    return {
        "network": other.network.told,
        "score": "test perplexity",
        "lower_is_better": True,
        "seeds": other.seeds,
        "test": round(float(np.mean(found)), 4),
        "leads": [
            {"over": rival, "test": round(float(np.mean(theirs)), 4)} | _told(paired_lead(found, theirs, True))
            for rival, theirs in scores.items()
        ],
        "measured": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, tensorflow {version('tensorflow')}, keras "
        f"{version('keras')}, keras-hub {version('keras-hub')}; benchmarks/zoo.py",
    }


def presets_of(runs: list[PastRun], directories: list[Path]) -> Iterator[tuple[str, PatternSet, PatternSet]]:
    """Yields `preset_of` of each run in some directories that has ended.

    Raises:
        SystemExit: two runs of one task and seed, or none that has ended.
    """
    tables, names = tables_in(directories), set[str]()
    for run in runs:
        if run.name not in tables:
            print(f"{run.name}: has not ended, no preset")
            continue
        name, patterns, classic = preset_of(run, tables[run.name])
        if name in names:
            raise SystemExit(f"Two runs make the preset {name}: name one of them")
        names.add(name)
        yield name, patterns, classic
    if not names:
        raise SystemExit("No run has ended: no presets")


def main() -> None:
    """Writes table and presets, tries these, and prints the shelf."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path, help="runs, or directories of runs")
    parser.add_argument("--seeds", type=int, help="of each other network, at most; 0 leaves them out")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="what was trained on the other networks")
    parser.add_argument("--shelf", type=Path, default=SHELF)
    parser.add_argument("--table", type=Path, default=PLACE)
    options = parser.parse_args()
    runs = runs_in(options.directories)
    make_table(runs, options.table)
    made = list(presets_of(runs, options.directories))
    for name, patterns, _ in made:  # all of them first: they need no training
        write(options.shelf, name, patterns, _figures_on_file(options.shelf, name, patterns))
    others = [Elsewhere(network, options.out, options.seeds) for network in NETWORKS if options.seeds != 0]
    for name, patterns, classic in made:
        if others and name.startswith("transformer-"):
            write(options.shelf, name, patterns, [tried((name, patterns), classic, other) for other in others])
    tad.presets.table()


def write(shelf: Path, name: str, patterns: PatternSet, elsewhere: Any) -> None:
    """Writes the file of a preset."""
    PatternSet(patterns, patterns.provenance | {"elsewhere": elsewhere}).save(shelf / f"{name}.json")


def _figures_on_file(shelf: Path, name: str, patterns: PatternSet) -> Any:
    """What the file says of other networks, if it is of the same patterns."""
    file = shelf / f"{name}.json"
    there = PatternSet.load(file) if file.exists() else None
    return there.provenance.get("elsewhere", "not run") if there == patterns else "not run"


if __name__ == "__main__":
    main()
