"""A pattern for each site of a network: what is searched, stored, shipped and loaded."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from tf_autodropout.patterns.checks import check_factor, check_float, check_site_name, shown
from tf_autodropout.patterns.document import Document, DocumentError, check_fields
from tf_autodropout.patterns.kinds import KINDS
from tf_autodropout.patterns.pattern import Pattern

_PATTERN_TYPES: dict[str, type[Pattern]] = {kind.TYPE: kind for kind in KINDS}


class PatternSet(Document, Mapping[str, Pattern]):
    """An immutable mapping from site name to pattern: the paper's *r*.

    Args:
        patterns: Site name to `ConvPattern`, `TransformerPattern` or `DropBlockPattern`.
        provenance: Where the set comes from, as a JSON object (task, reward, seeds, ...). It takes
            no part in equality and hash.

    Raises:
        ValueError: a site name that is not a non-empty string, a provenance that is not JSON.
        TypeError: a value that is not a pattern.

    Example:
        >>> import tf_autodropout as tad
        >>> found = tad.PatternSet({"ffn": tad.TransformerPattern(size=1, rate=0.2)})
        >>> found == tad.PatternSet.from_json(found.to_json())
        True

    Reference:
        Pham and Le, AutoDropout, AAAI 2021, "Search Algorithm".
    """

    TYPE: ClassVar[str] = "PatternSet"
    _patterns: dict[str, Pattern]
    _provenance: dict[str, Any]

    def __init__(self, patterns: Mapping[str, Pattern], provenance: Mapping[str, Any] | None = None) -> None:
        if not isinstance(patterns, Mapping):
            raise TypeError(f"Expected 'patterns' to be a mapping of sites to patterns. Received: {shown(patterns)}")
        for site, pattern in patterns.items():
            check_site_name(site)
            if not isinstance(pattern, Pattern):
                raise TypeError(f"Expected a pattern at site {shown(site)}. Received: {shown(pattern)}")
        try:
            notes = json.loads(json.dumps(dict(provenance or {}), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"Expected 'provenance' to be a JSON object. Received: {shown(provenance)} ({error})"
            ) from None
        object.__setattr__(self, "_patterns", dict(patterns))
        object.__setattr__(self, "_provenance", notes)

    @property
    def provenance(self) -> dict[str, Any]:
        """A copy of the notes on where this set comes from."""
        return copy.deepcopy(self._provenance)

    def __getitem__(self, site: str) -> Pattern:
        return self._patterns[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self._patterns)

    def __len__(self) -> int:
        return len(self._patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PatternSet) and self._patterns == other._patterns

    def __hash__(self) -> int:
        return hash(frozenset(self._patterns.items()))

    def __repr__(self) -> str:
        return f"PatternSet({self._patterns!r})"

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"PatternSet is immutable; cannot set '{name}'")

    def __reduce__(self) -> tuple[Any, ...]:
        return PatternSet, (self._patterns, self._provenance)

    def scale(self, factor: float) -> "PatternSet":
        """Returns the set for maps or sequences `factor` times as large; see the patterns' `scale`."""
        factor = check_factor(factor)
        notes = self.provenance
        notes["scaled_by"] = check_float("scaled_by", factor * check_float("scaled_by", notes.get("scaled_by", 1.0)))
        return PatternSet({site: pattern.scale(factor) for site, pattern in self.items()}, notes)

    def to_dict(self) -> dict[str, Any]:
        patterns = {site: pattern_to_dict(pattern) for site, pattern in self.items()}
        return {"patterns": patterns, "provenance": self.provenance}

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "document") -> "PatternSet":
        check_fields(fields, {"patterns", "provenance"}, where)
        for name, value in fields.items():
            if not isinstance(value, dict):
                raise DocumentError(f"{where}: field '{name}': expected a JSON object. Received: {shown(value)}")
        patterns = {
            site: pattern_from_dict(value, f"{where}: site '{site}'") for site, value in fields["patterns"].items()
        }
        try:
            return cls(patterns, fields["provenance"])
        except ValueError as error:
            raise DocumentError(f"{where}: {error}") from None


def patterns_for(sites: Sequence[str], kind: type[Pattern], patterns: Mapping[str, Pattern] | None) -> PatternSet:
    """Returns `patterns` as the PatternSet of a network or layer that has these sites.

    Raises:
        ValueError: a site that is not there.
        TypeError: a pattern that is not of the sites' kind.
    """
    chosen = PatternSet(patterns or {})
    if unknown := sorted(chosen.keys() - set(sites)):
        some = ", ".join(sites[:7]) + (", ..." if len(sites) > 7 else "")
        raise ValueError(f"Invalid value for 'patterns'. Expected sites among {some}. Received: {shown(unknown[0])}")
    for site, pattern in chosen.items():
        if not isinstance(pattern, kind):
            raise TypeError(f"Site '{site}' needs a {kind.TYPE}. Received: {type(pattern).__name__}")
    return chosen


def pattern_to_dict(pattern: Pattern) -> dict[str, Any]:
    """Returns the fields of a pattern together with its type, as JSON types."""
    return {"type": pattern.TYPE} | pattern.to_dict()


def pattern_from_dict(fields: Any, where: str) -> Pattern:
    """Makes the pattern that `pattern_to_dict` has written.

    Raises:
        DocumentError: a missing or unknown field, type or value; the message begins with `where`.
    """
    if not isinstance(fields, dict):
        raise DocumentError(f"{where}: expected a JSON object. Received: {shown(fields)}")
    rest = dict(fields)
    kind = rest.pop("type", None)
    if kind is None:
        raise DocumentError(f"{where}: missing field 'type'")
    if not isinstance(kind, str) or kind not in _PATTERN_TYPES:
        raise DocumentError(
            f"{where}: field 'type': expected one of {', '.join(_PATTERN_TYPES)}. Received: {shown(kind)}"
        )
    return _PATTERN_TYPES[kind].from_dict(rest, where)
