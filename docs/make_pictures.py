"""Draws the picture of the README: `python docs/make_pictures.py`."""

from pathlib import Path

import tf_autodropout as tad

CONV, TEXT = (24, 24, 16), (24, 24)


def main() -> None:
    """Writes docs/patterns.png."""
    patterns = tad.PatternSet(
        {
            "ConvNet, tiled": tad.ConvPattern(size=3, stride=3, repeat=3),
            "ConvNet, rotated": tad.ConvPattern(size=3, stride=3, repeat=3, rotate=30, shear_x=0.25),
            "Transformer, blocks": tad.TransformerPattern(size=4, stride=3, share_t=True, rate=0.3),
            "Transformer, words": tad.TransformerPattern(size=4, stride=3, share_c=True, rate=0.5),
        }
    )
    shapes = {site: CONV if site.startswith("ConvNet") else TEXT for site in patterns}
    figure = tad.visualize.plot(patterns, shapes, draws=4, seed=189)
    figure.savefig(Path(__file__).with_name("patterns.png"), dpi=110)


if __name__ == "__main__":
    main()
