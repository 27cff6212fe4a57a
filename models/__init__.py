"""Model builders with pattern sites, imported as `tf_autodropout.models`."""

if not __name__.startswith("tf_autodropout."):
    raise ImportError("Import this package as tf_autodropout.models: `from tf_autodropout import models`.")

from tf_autodropout.models.beam_search import BeamSearch
from tf_autodropout.models.efficient_net import efficientnet
from tf_autodropout.models.encoder_decoder import transformer
from tf_autodropout.models.residual_network import resnet50
from tf_autodropout.models.transformer_lm import transformer_lm
from tf_autodropout.models.wide_resnet import wide_resnet
from tf_autodropout.models.xl_transformer import transformer_xl

__all__ = [
    "BeamSearch",
    "efficientnet",
    "resnet50",
    "transformer",
    "transformer_lm",
    "transformer_xl",
    "wide_resnet",
]
