"""Random patterns and shapes, the same in every process."""

import random

import tf_autodropout as tad

_SIZES = (1, 2, 5, 8)  # few, so that a backend that compiles each shape does so a few times


def random_cases(count):
    """Yields (pattern, shape, keyword arguments of `keep_mask`, seed)."""
    rng = random.Random(7)
    for number in range(count):
        kind = ("conv", "transformer", "conv", "drop_block", "transformer")[number % 5]
        seed = (rng.randrange(2**32), rng.randrange(2**32))
        if kind == "transformer":
            yield _transformer(rng), _tokens(rng), {}, seed
        else:
            yield _on_maps(kind, rng, seed)


def _tokens(rng):
    return (rng.choice((1, 3)), rng.choice((1, 6, 11)), rng.choice((1, 4)))


def _transformer(rng):
    size = rng.choice((1, 1, 2, 3, 20))
    flags = {"share_t": rng.random() < 0.4, "share_c": rng.random() < 0.4}
    return tad.TransformerPattern(size, rng.randrange(4), rate=rng.random(), **flags)


def _on_maps(kind, rng, seed):
    axes = rng.choice((1, 2, 2, 2, 3))
    first = rng.random() < 0.3
    sizes = tuple(rng.choice(_SIZES) for _ in range(axes))
    channels = rng.choice((1, 3))
    shape = (2, channels, *sizes) if first else (2, *sizes, channels)
    share, rate = rng.random() < 0.5, rng.choice((1.0, rng.random()))
    size = rng.choice((1, 2, 3, "1/4", "1/2"))
    where = {"data_format": "channels_first" if first else "channels_last"}
    if kind == "drop_block":
        return tad.DropBlockPattern(size, rate=0.6 * rng.random(), share_c=share), shape, where, seed
    turned = axes > 1 and rng.random() < 0.5
    geometry = {"rotate": rng.uniform(-90, 90), "shear_x": rng.uniform(-0.5, 0.5)} if turned else {}
    pattern = tad.ConvPattern(size, rng.randrange(3), rng.choice((1, 2)), share_c=share, rate=rate, **geometry)
    return pattern, shape, where, seed
