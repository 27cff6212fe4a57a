"""The classics of the tables, put into a network of a recipe."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from tf_autodropout.layers import TRANSFORMER_SITES
from tf_autodropout.patterns import PatternSet, Schedule, TransformerPattern, members
from tf_autodropout.surgery import by_depth, regularize

_BRANCHES = ("output", "ffn")  # where Dropout goes in a Transformer: the ends of its branches
_Plan = Mapping[str, Any]


def _dropout(plan: _Plan) -> tuple[Any, Schedule | None]:
    # Dropout of the classic ConvNets is before the classifier; on maps it is weak (Ghiasi et al., Section 1).
    return {plan["noise_sites"]: members.dropout(plan["noise_rate"])}, None


def _spatial_dropout(plan: _Plan) -> tuple[Any, Schedule | None]:
    return {plan["noise_sites"]: members.spatial_dropout(plan["noise_rate"])}, None


def _drop_block(plan: _Plan) -> tuple[Any, Schedule | None]:
    """DropBlock in the last two groups, the rate a fourth in the one before the last, ramped up over all steps."""
    before, last = plan["groups"]
    rate, size = plan["noise_rate"], plan["block_size"]
    places = {f"{before}_*": members.drop_block(size, rate / 4), f"{last}_*": members.drop_block(size, rate)}
    return places, Schedule.ramp_up(plan["steps"])


def _stochastic_depth(plan: _Plan) -> tuple[Any, Schedule | None]:
    return by_depth(members.drop_path(0.0), 0.0, plan["noise_rate"]), None


def _drop_path(plan: _Plan) -> tuple[Any, Schedule | None]:
    return by_depth(members.drop_path(0.0), plan["noise_rate"], plan["noise_rate"]), None


NOISES: dict[str, Callable[[_Plan], tuple[Any, Schedule | None]]] = {
    "dropout": _dropout,
    "spatial_dropout": _spatial_dropout,
    "dropblock": _drop_block,
    "stochastic_depth": _stochastic_depth,
    "drop_path": _drop_path,
}


def add_noise(network: keras.Model, noise: str, plan: _Plan, patterns: PatternSet | None, seed: int) -> keras.Model:
    """Puts a classic or a PatternSet into a ConvNet, in place.

    Args:
        network: Without patterns.
        noise: Key of `NOISES`, `"none"` or `"patterns"`.
        plan: `noise_rate`, `noise_sites`, `groups`, `block_size` and `steps`, as far as the noise needs them.
        patterns: For `"patterns"`.
        seed: Seeds the masks.

    Returns:
        The network.
    """
    if noise == "none" or (noise == "patterns" and not patterns):
        return network
    chosen, schedule = (patterns, None) if noise == "patterns" else NOISES[noise](plan)
    return regularize(network, chosen, seed, in_place=True, schedule=schedule)


def transformer_noise(noise: str, plan: _Plan, patterns: PatternSet | None) -> dict[str, Any]:
    """Returns the patterns by role of a classic, for the builders of Transformers.

    Args:
        noise: `"none"`, `"dropout"` (as published: the ends of the branches, and the attention probabilities where
            `attention_rate` says so), `"variational_dropout"`, `"drop_path"` or `"patterns"`.
        plan: `noise_rate` and, for Dropout, `attention_rate`.
        patterns: For `"patterns"`, with the seven roles as keys.

    Raises:
        ValueError: an unknown noise, or patterns at something else than the roles.
    """
    rate = plan.get("noise_rate", 0.0)
    if noise == "none":
        return {}
    if noise == "patterns":
        others = sorted(set(patterns or {}) - set(TRANSFORMER_SITES))
        if others:
            raise ValueError(
                f"Expected patterns at the roles {', '.join(TRANSFORMER_SITES)}, found on a Transformer. "
                f"Received: {', '.join(others[:5])}"
            )
        return {site: pattern for site, pattern in (patterns or {}).items() if not pattern.ON_MAPS}
    if noise == "dropout":
        inside = {"softmax": members.dropout(plan["attention_rate"])} if plan.get("attention_rate") else {}
        return {site: members.dropout(rate) for site in _BRANCHES} | inside
    if noise == "variational_dropout":
        return {site: members.variational_dropout(rate) for site in _BRANCHES}
    if noise == "drop_path":
        return dict.fromkeys(_BRANCHES, members.drop_path(rate, TransformerPattern))
    raise ValueError(f"Invalid value for 'noise'. Expected a noise of Transformers. Received: noise={noise!r}")
