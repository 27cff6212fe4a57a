"""The sites of our builders' networks, each network built once."""

import functools

import tf_autodropout as tad


def once(build):
    return functools.cache(lambda *args, **kwargs: tad.sites(build(*args, **kwargs)).as_sites())


wide_resnet_sites = once(tad.models.wide_resnet)
resnet50_sites = once(lambda shape=(224, 224, 3), width=1.0: tad.models.resnet50(shape, 1, width))
efficientnet_sites = once(lambda variant="b0", shape=None, width=1.0: tad.models.efficientnet(variant, shape, 1, width))
transformer_sites = once(lambda length, dim: tad.models.transformer_lm(1, length, 1, dim, 1, 1))
transformer_xl_sites = once(lambda length, memory, dim: tad.models.transformer_xl(1, length, memory, 1, dim, 1, 1))
