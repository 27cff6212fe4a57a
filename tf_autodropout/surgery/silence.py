"""Patterns that would silence a network for good are refused before anything is put in."""

from collections.abc import Sequence

from tf_autodropout.masks import is_silent
from tf_autodropout.patterns import Pattern, Schedule
from tf_autodropout.surgery.site_table import ModelSite

_SHOWN = 5


def refuse_silence(chosen: Sequence[tuple[ModelSite, Pattern]], schedule: Schedule | None) -> None:
    """Raises if a pattern covers all of its site at every step, with rate 1: then nothing passes there in training.

    Raises:
        ValueError: names the sites, and what would do.
    """
    peak = 1.0 if schedule is None else schedule.peak
    silent = [site for site, pattern in chosen if _silences(site, pattern, peak)]
    if silent:
        shown = ", ".join(f"'{site.name}' {site.shape[:-1]}" for site in silent[:_SHOWN])
        more = ", ..." if len(silent) > _SHOWN else ""
        raise ValueError(
            f"The patterns would drop everything, at every step, at {len(silent)} of {len(chosen)} sites, and nothing "
            f"would pass there while training: {shown}{more}. Give a size below that of the map, a fraction of it "
            "(size='1/4'), a rate below 1, or strength=0.1 in place of patterns; or name the other sites only."
        )


def _silences(site: ModelSite, pattern: Pattern, peak: float) -> bool:
    sizes = pattern.sizes_of(site.shape)
    known = [size for size in sizes if size is not None]
    return len(known) == len(sizes) and is_silent(pattern, tuple(known), peak)
