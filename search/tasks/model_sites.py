"""Which sites of a model are searched, and what the search calls them."""

import fnmatch
from collections.abc import Mapping
from typing import Any

import keras

from tf_autodropout.patterns import Pattern, Site
from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.children.model_names import stable_names
from tf_autodropout.surgery.survey import survey


class ModelSites:
    """The sites of a model without patterns that are searched.

    Args:
        model: Built.
        wanted: Names, globs, kinds (`"ffn"`) or classes of layers; None for all recommended sites.

    Raises:
        ValueError: something wanted that the model does not have, or no site at all.
    """

    def __init__(self, model: keras.Model, wanted: Any = None) -> None:
        rows = list(survey(model).rows())
        fitting = [(site, place) for site, place in rows if site.pattern_types]
        chosen = [site for site, _ in fitting if site.recommended]
        if wanted is not None:
            keys = [wanted] if isinstance(wanted, str | type) else list(wanted)
            chosen = list(dict.fromkeys(site for key in keys for site in _matching(key, fitting)))
        if not chosen:
            raise ValueError(
                f"Model '{model.name}' has no site that a pattern is recommended at. `tad.sites(model, every=True)` "
                "lists the outputs of all layers; name those to drop: sites=[...]"
            )
        stable = stable_names(model, [site.name for site, _ in rows])
        parts = stable_names(model, [part for site, _ in rows for part in (site.block, site.stage)])
        self.patterns: dict[str, Pattern] = {site.name: site.pattern_type() for site in chosen}
        self._sites = {
            site.kind if site.is_role else stable[site.name]: (site, [parts.get(one, one) for one in site.shared_parts])
            for site in reversed(chosen)
        }
        # Names for the search to those in the model; one pattern serves all sites of a role.
        self.own_names = {name: site.shared_name for name, (site, *_) in reversed(self._sites.items())}

    @property
    def branch_ends(self) -> list[str]:
        """The last site of each block that ends at an Add with a skip connection, for maps."""
        ends = {
            site.block: name for name, (site, *_) in reversed(self._sites.items()) if site.at_add and not site.is_role
        }
        return list(ends.values())

    def with_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Site, ...]:
        """Returns the sites for a `SearchSpace`. A map of a single cell is none: whatever drops there drops everything.

        Args:
            shapes: Of one example at each site, by the names in the model.
        """
        found = []
        for name, own in self.own_names.items():
            site, parts = self._sites[name]
            single = site.pattern_type.ON_MAPS and max(shapes.get(own, (1, 1))[:-1]) == 1
            if own in shapes and not single:
                found.append(Site(name, site.pattern_type, shapes[own], *parts))
        return tuple(found)


def _matching(key: Any, fitting: list[tuple[Any, Any]]) -> list[Any]:
    found = [site for site, place in fitting if _matches(key, site, place)]
    if not found:
        some = ", ".join(dict.fromkeys(site.name for site, _ in fitting if site.recommended))
        raise invalid("sites", f"names, globs, kinds or classes of layers of this model, such as {some[:200]}", key)
    return [site for site in found if site.recommended] or found


def _matches(key: Any, site: Any, place: Any) -> bool:
    if isinstance(key, str):
        return key in (site.name, site.kind) or fnmatch.fnmatchcase(site.name, key)
    return isinstance(key, type) and isinstance(place.layer, key)
