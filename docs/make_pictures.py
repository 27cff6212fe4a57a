"""Draws the pictures of the README and of the docs: `python docs/make_pictures.py`."""

from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image  # photographs that come with scikit-learn

import tf_autodropout as tad

MAP, TEXT, VOLUME = (24, 24, 16), (24, 24), (9, 16, 16, 8)
SIDE = 64  # pixels of a photograph, each the mean of 5 by 5


def patterns() -> Figure:
    """What kinds of pattern there are."""
    rows = {
        "Tiles": (tad.ConvPattern(size=3, stride=3, repeat=3), MAP),
        "Tiles, turned": (tad.ConvPattern(size=3, stride=3, repeat=3, rotate=30, shear_x=0.25), MAP),
        "DropBlock": (tad.members.drop_block(5, 0.1), MAP),
        "Volumes": (tad.ConvPattern(size=4, stride=3, repeat=2), VOLUME),
        "Tokens, blocks": (tad.TransformerPattern(size=4, stride=3, share_t=True, rate=0.3), TEXT),
        "Tokens, words": (tad.TransformerPattern(size=4, stride=3, share_c=True, rate=0.5), TEXT),
    }
    found = tad.PatternSet({site: pattern for site, (pattern, _) in rows.items()})
    return tad.visualize.plot(found, {site: shape for site, (_, shape) in rows.items()}, draws=4, seed=20)


def maps() -> Figure:
    """Patterns on the maps of a network: `tad.show`."""
    keras.utils.set_random_seed(0)
    plain = tad.models.wide_resnet(16, 2, input_shape=(SIDE, SIDE, 3))
    model = tad.regularize(plain, tad.ConvPattern(size="1/5", stride="1/8", repeat=2, rotate=20))
    sites = ("stage1_block1_bn1", "stage2_block1_bn2", "stage3_block1_bn2")
    return tad.show(model, images=np.stack([photograph("flower.jpg", 60, 180)]), sites=sites, draws=4, seed=11)


def photograph(name: str, top: int, left: int) -> np.ndarray:
    """A square of a photograph, (64, 64, 3), 0 to 1."""
    square = load_sample_image(name)[top : top + 5 * SIDE, left : left + 5 * SIDE] / 255.0
    return square.reshape(SIDE, 5, SIDE, 5, 3).mean((1, 3)).astype(np.float32)


def main() -> None:
    """Writes docs/patterns.png and docs/show.png."""
    for name, figure in (("patterns", patterns()), ("show", maps())):
        figure.savefig(Path(__file__).with_name(f"{name}.png"), dpi=120)


if __name__ == "__main__":
    main()
