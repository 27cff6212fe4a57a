"""Model builders with pattern sites, imported as `tf_autodropout.models`."""

if not __name__.startswith("tf_autodropout."):
    raise ImportError("Import this package as tf_autodropout.models: `from tf_autodropout import models`.")

from tf_autodropout.tensorflow_only import check_tensorflow

check_tensorflow("tf_autodropout.models")

from tf_autodropout.models.beam_search import BeamSearch  # noqa: E402
from tf_autodropout.models.efficient_net import efficientnet  # noqa: E402
from tf_autodropout.models.encoder_decoder import transformer  # noqa: E402
from tf_autodropout.models.residual_network import resnet50  # noqa: E402
from tf_autodropout.models.transformer_lm import transformer_lm  # noqa: E402
from tf_autodropout.models.wide_resnet import wide_resnet  # noqa: E402
from tf_autodropout.models.xl_transformer import transformer_xl  # noqa: E402

__all__ = [
    "BeamSearch",
    "efficientnet",
    "resnet50",
    "transformer",
    "transformer_lm",
    "transformer_xl",
    "wide_resnet",
]
