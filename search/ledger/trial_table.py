"""Trials as a table: the tokens and rewards of a finished run, in one small file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tf_autodropout.patterns import Site
from tf_autodropout.patterns.document import Document, DocumentError, check_fields
from tf_autodropout.patterns.kinds import SEARCHED
from tf_autodropout.search.core import Status, Trial
from tf_autodropout.search.ledger import LedgerReader, stored_config
from tf_autodropout.search.space import SPACE_VERSION, SearchSpace

_FIELDS = {"space_version", "sites", "tokens", "rewards", "provenance"}


@dataclass(frozen=True)
class TrialTable(Document):
    """The finished trials of a run.

    Args:
        space: Their search space. Sites that shared a decision in the run are one stage.
        tokens: L tokens of each trial.
        rewards: Reward of each trial.
        provenance: Where they come from, as a JSON object.

    Raises:
        ValueError: no trials, not as many rewards as tokens.

    Example:
        >>> import tf_autodropout as tad
        >>> from tf_autodropout.patterns import Site
        >>> from tf_autodropout.search.space import SearchSpace
        >>> from tf_autodropout.search.ledger.trial_table import TrialTable
        >>> space = SearchSpace((Site("ffn", tad.TransformerPattern, (8, 4), "ffn", "ffn"),), "stage")
        >>> table = TrialTable(space, ((0, 0, 0, 0, 0), (1, 0, 0, 1, 2)), (0.5, 0.7))
        >>> TrialTable.from_json(table.to_json()) == table
        True
    """

    TYPE: ClassVar[str] = "TrialTable"
    space: SearchSpace
    tokens: tuple[tuple[int, ...], ...]
    rewards: tuple[float, ...]
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not len(self.tokens) == len(self.rewards) > 0:
            raise ValueError(
                "Expected one or more trials, with a reward for each. "
                f"Received: {len(self.tokens)} trials, {len(self.rewards)} rewards"
            )
        for row in self.tokens:
            self.space.decode(row)  # raises for tokens of another space

    @classmethod
    def from_run(cls, directory: Path) -> "TrialTable":
        """Reads the finished trials of a run, in the order of their numbers.

        Raises:
            ValueError: the directory holds no run, or one without a finished trial or of other grids.
        """
        config = stored_config(directory)
        if config is None:
            raise ValueError(f"{directory} holds no run")
        reader = LedgerReader(directory)
        try:
            trials = [trial for trial in reader.trials() if trial.status is Status.FINISHED]
        finally:
            reader.close()
        space = config["task"].pop("space")
        if space["version"] != SPACE_VERSION or not trials:
            raise ValueError(
                f"{directory}: expected finished trials of space version {SPACE_VERSION}. "
                f"Received: {len(trials)} of version {space['version']}"
            )
        if space["kind"] not in SEARCHED:
            raise ValueError(
                f"{directory}: expected sites of one kind. Received: {sorted(set(space['kinds'].values()))}"
            )
        kind = SEARCHED[space["kind"]]
        named = [Site(name, kind, tuple(shape), "", "") for name, shape in space["sites"].items()]
        # The config's sites are in no order; the tokens are in that of the network.
        sites = tuple(sorted((_grouped(site, trials) for site in named), key=lambda site: int(site.stage)))
        return cls(
            SearchSpace(sites, "stage"),
            tuple(trial.suggestion.tokens for trial in trials),
            tuple(trial.reward for trial in trials if trial.reward is not None),
            {"task": config["task"], "searcher": config["searcher"], "seed": config["seed"]},
        )

    def to_dict(self) -> dict[str, Any]:
        sites = {
            site.name: {"kind": site.kind.__name__, "shape": list(site.shape), "group": site.stage}
            for site in self.space.sites
        }
        return {
            "space_version": SPACE_VERSION,
            "sites": sites,
            "tokens": [" ".join(map(str, row)) for row in self.tokens],  # a line a trial
            "rewards": list(self.rewards),
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "document") -> "TrialTable":
        """Makes it from what `to_dict` returned; raises `DocumentError`, a `ValueError`, for anything else."""
        check_fields(fields, _FIELDS, where)
        if fields["space_version"] != SPACE_VERSION:
            received = fields["space_version"]
            raise DocumentError(f"{where}: field 'space_version': expected {SPACE_VERSION}. Received: {received!r}")
        try:
            sites = tuple(
                Site(name, SEARCHED[site["kind"]], tuple(site["shape"]), site["group"], site["group"])
                for name, site in fields["sites"].items()
            )
            tokens = tuple(tuple(map(int, row.split())) for row in fields["tokens"])
            rewards = tuple(map(float, fields["rewards"]))
            return cls(SearchSpace(sites, "stage"), tokens, rewards, fields["provenance"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DocumentError(f"{where}: not a table of trials ({error})") from None


def _grouped(site: Site, trials: Sequence[Trial]) -> Site:
    """Returns the site with the number of its group as stage: the first whose tokens give its pattern in all trials.

    A run's config names sites, not the decisions that they share; the trials show them.
    """
    alone = SearchSpace((site,))
    width = len(alone.decisions)
    for group in range(len(trials[0].suggestion.tokens) // width):
        part = slice(group * width, (group + 1) * width)
        if all(alone.decode(t.suggestion.tokens[part])[site.name] == t.patterns.get(site.name) for t in trials):
            return Site(site.name, site.kind, site.shape, str(group), str(group))
    raise ValueError(f"The patterns of site '{site.name}' are not those of the trials' tokens.")
