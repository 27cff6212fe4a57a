"""Draws the pictures of the README and of the docs: `python docs/make_pictures.py`.

`python docs/make_pictures.py runs/pydoc` makes `pictures/page.png` alone: the page of that run in Chromium, by
playwright. The one in the README is of a search of `benchmarks/campaign.py`, 128 trials of `pydoc`, seed 0.
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image  # photographs that come with scikit-learn

import tf_autodropout as tad
from tf_autodropout.patterns import Pattern
from tf_autodropout.visualize.sheet import MASKS
from tf_autodropout.visualize.telling import Place

DOCS = Path(__file__).parent
MAP, TEXT, VOLUME = (24, 24, 16), (24, 24), (9, 16, 16, 8)
SIDE = 64  # pixels of a photograph, each the mean of 5 by 5
GREY = 0.12  # of what is dropped on a photograph
FINE = 160  # pixels where one is shown large


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
    return sheet(rows, seed=20)


def sheet(rows: dict, seed: int = 1) -> Figure:
    """A row of four draws for each name, of a pattern and a shape."""
    found = tad.PatternSet({site: pattern for site, (pattern, _) in rows.items()})
    return tad.visualize.plot(found, {site: shape for site, (_, shape) in rows.items()}, draws=4, seed=seed)


def definitions() -> dict[str, Figure]:
    """The pictures of the page of definitions."""
    conv, text = tad.ConvPattern, tad.TransformerPattern
    members = tad.members
    return {
        "conv_tiles": sheet(
            {
                "size=5": (conv(size=5), MAP),
                "size=(2, 9)": (conv(size=(2, 9)), MAP),
                "repeat=3": (conv(size=3, stride=3, repeat=3), MAP),
            }
        ),
        "conv_turned": sheet(
            {
                "rotate=30": (conv(size=3, stride=3, repeat=3, rotate=30), MAP),
                "shear_x=0.5": (conv(size=3, stride=3, repeat=3, shear_x=0.5), MAP),
                "both": (conv(size=3, stride=3, repeat=3, rotate=45, shear_x=0.5), MAP),
            }
        ),
        "tokens": sheet(
            {
                "by entry": (text(size=4, stride=3, rate=0.3), TEXT),
                "share_t": (text(size=4, stride=3, share_t=True, rate=0.3), TEXT),
                "share_c": (text(size=4, stride=3, share_c=True, rate=0.5), TEXT),
            }
        ),
        "classics": sheet(
            {
                "Dropout": (members.dropout(0.2), TEXT),
                "Word Dropout": (members.word_dropout(0.2), TEXT),
                "Variational": (members.variational_dropout(0.2), TEXT),
                "Spatial Dropout": (members.spatial_dropout(0.5), MAP),
                "DropBlock": (members.drop_block(5, 0.15), MAP),
            }
        ),
    }


def idea() -> Figure:
    """What Dropout takes from a photograph, and what a pattern takes: the same share."""
    photo = photograph("flower.jpg", 60, 180, FINE)
    # One mask for all channels: a pixel is there or is not.
    turned = tad.ConvPattern(size=26, stride=16, repeat=4, rotate=25, shear_x=0.2, share_c=True)
    pattern = min((draw(turned, seed, FINE) for seed in range(40)), key=lambda mask: abs(mask.mean() - 0.7))
    share = 1 - pattern.mean()
    single = np.random.default_rng(0).random((FINE, FINE, 1)) >= share
    figure = Figure(figsize=(9, 3.6), layout="constrained", facecolor="white")
    texts = (
        ("What arrives", "a map, here a photograph"),
        (f"Dropout takes {share:.0%}", "single values:\ntheir neighbours give them back"),
        (f"A pattern takes {share:.0%}", "whole regions:\nthe network learns from the rest"),
    )
    masks = (np.ones((FINE, FINE, 1)), single, pattern)
    for axes, (title, text), mask in zip(figure.subplots(1, 3), texts, masks, strict=True):
        axes.imshow(np.where(mask, photo, GREY))
        axes.set_title(title, fontsize=14, weight="bold")
        axes.set_xlabel(text, fontsize=10.5)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def over_network() -> Figure:
    """A PatternSet over the drawing of its network."""
    plain = tad.models.wide_resnet(10, 2)
    shapes = {site.name: site.shape for site in tad.sites(plain)}
    first, second = list(shapes)[:2], list(shapes)[2:5]
    chosen = {site: tad.ConvPattern(size="1/8", stride="1/8", repeat=3, rotate=30) for site in first}
    chosen |= {site: tad.ConvPattern(size="1/4", stride="1/8", repeat=2) for site in second}
    chosen |= {site: tad.ConvPattern(size="3/8", rate=0.6) for site in list(shapes)[5:]}
    return tad.visualize.network(tad.PatternSet(chosen), shapes, seed=4)


def found_and_classic() -> Figure:
    """A PatternSet that a search has found, and the classic that came closest in its table, site by site."""
    found = tad.presets.load("transformer-found-pydoc-0")
    shapes = {site: tuple(shape) for site, shape in found.provenance["sites"].items()}
    closest = found.provenance["leads"]["best classic on test"]["over"]
    name, _, rates = closest.removesuffix(")").partition("(")
    assert name == "Word Dropout", closest
    sites = zip(("softmax", "output", "ffn"), map(float, rates.split("/")), strict=True)
    classic = tad.PatternSet({site: tad.members.word_dropout(rate) for site, rate in sites})
    figure = Figure(figsize=(10.5, 3.4), layout="constrained", facecolor="white")
    grid = figure.subplots(2, len(shapes))
    for row, (title, one) in enumerate({"found by a search": found, f"{name}\n({rates})": classic}.items()):
        for column, (site, shape) in enumerate(shapes.items()):
            pattern = one.get(site, tad.TransformerPattern())
            axes, place = grid[row][column], Place(site, pattern, shape)
            chance = float(place.probability.mean())
            mask = min(place.masks(12, (row, column)), key=lambda one, chance=chance: abs(1 - one.mean() - chance))
            axes.imshow(mask, cmap=MASKS, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(site, fontsize=10, weight="bold")
            axes.set_xlabel("no pattern" if pattern.is_identity else f"drops {100 * chance:.2g} %", fontsize=8)
        grid[row][0].set_ylabel(title, fontsize=9, weight="bold")
    return figure


def maps() -> Figure:
    """Patterns on the maps of a network: `tad.show`."""
    keras.utils.set_random_seed(0)
    plain = tad.models.wide_resnet(16, 2, input_shape=(SIDE, SIDE, 3))
    model = tad.regularize(plain, tad.ConvPattern(size="1/5", stride="1/8", repeat=2, rotate=20))
    sites = ("stage1_block1_bn1", "stage2_block1_bn2", "stage3_block1_bn2")
    return tad.show(model, images=np.stack([photograph("flower.jpg", 60, 180)]), sites=sites, draws=4, seed=11)


def draws(frames: int = 16) -> list[Image.Image]:
    """Frames of a video: a new mask at each step, of four patterns on one photograph."""
    photo = photograph("china.jpg", 60, 120)
    shown = (
        tad.ConvPattern(size=20, share_c=True),
        tad.ConvPattern(size=6, stride=6, repeat=4, share_c=True),
        tad.ConvPattern(size=6, stride=6, repeat=5, rotate=30, shear_x=0.3, share_c=True),
        tad.members.drop_block(9, 0.25, share_c=True),
    )
    pictures = []
    for frame in range(frames):
        panels = [np.where(draw(pattern, seed=frame), photo, GREY) for pattern in shown]
        edge = np.ones((SIDE, 4, 3))
        line = np.concatenate([panel for one in panels for panel in (one, edge)][:-1], axis=1)
        picture = Image.fromarray((255 * line).astype(np.uint8))
        picture = picture.resize((picture.width * 3, picture.height * 3), Image.Resampling.NEAREST)
        pictures.append(picture.quantize(64, dither=Image.Dither.NONE))
    return pictures


def page(run: Path, width: int = 1400, height: int = 1070) -> Image.Image:
    """The upper part of the page of a run, finer than on a plain screen."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as directory, sync_playwright() as driver:
        file = Path(directory, "run.html")
        tad.visualize.report(run).save(file)
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        see = chromium.new_page(viewport={"width": width, "height": height}, device_scale_factor=1.4)
        see.goto(file.as_uri())
        see.wait_for_selector("html[data-ready]", state="attached")
        picture = Image.open(io.BytesIO(see.screenshot()))
        chromium.close()
    return picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)


def draw(pattern: Pattern, seed: int, side: int = SIDE) -> np.ndarray:
    """A mask of a photograph, (side, side, 1) booleans."""
    return tad.keep_mask(pattern, (1, side, side, 1), seed).numpy()[0] > 0


def photograph(name: str, top: int, left: int, side: int = SIDE) -> np.ndarray:
    """A square of a photograph, (side, side, 3), 0 to 1: means over equal squares of 320 by 320 pixels."""
    square = load_sample_image(name)[top : top + 320, left : left + 320] / 255.0
    return square.reshape(side, 320 // side, side, 320 // side, 3).mean((1, 3)).astype(np.float32)


def main() -> None:
    """Writes docs/patterns.png, docs/show.png and what is in docs/pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="directory of a run: makes the picture of its page alone")
    if (run := parser.parse_args().run) is not None:
        page(run).save(DOCS / "pictures" / "page.png", optimize=True)
        return
    for name, figure in (("patterns", patterns()), ("show", maps())):
        figure.savefig(DOCS / f"{name}.png", dpi=120)
    pictures = DOCS / "pictures"
    others = {"idea": idea(), "over_network": over_network(), "found_and_classic": found_and_classic()}
    for name, figure in (definitions() | others).items():
        figure.savefig(pictures / f"{name}.png", dpi=130)
    photo = Image.open(pictures / "idea.png").convert("RGB")
    photo.quantize(256).save(pictures / "idea.png", optimize=True)
    first, *rest = draws()
    first.save(pictures / "draws.gif", save_all=True, append_images=rest, duration=450, loop=0, optimize=True)


if __name__ == "__main__":
    main()
