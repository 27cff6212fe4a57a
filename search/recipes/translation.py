"""Table 4, translation: IWSLT'14 German-English and WMT'14 English-French with patterns found on Penn Treebank.

The finals (not run at full size; the paper: IWSLT'14 35.8 with AutoDropout). The patterns go by role:

    tf-autodropout reproduce table4 --rows 'iwslt14/*' --patterns runs/ptb --data-dir D --out runs/table4
    tf-autodropout reproduce table4 --rows 'wmt14/*' --patterns runs/ptb --data-dir D --out runs/table4
"""

from collections.abc import Mapping
from typing import Any

from tf_autodropout.models.encoder_decoder import TRANSFORMER_SIZES
from tf_autodropout.search.recipes.recipe import AUTODROPOUT, Recipe, Setting, ours, paper, public

_FAIRSEQ = "facebookresearch/fairseq@3d262bb examples/translation/README.md l.98-145"
_RDROP = "dropreg/R-Drop@9dcc830 fairseq_src/examples/translation_rdrop/script/run_train.sh"
_VASWANI = "Vaswani et al., Attention Is All You Need, NeurIPS 2017"
_PREPARE = "facebookresearch/fairseq@3d262bb examples/translation/prepare-wmt14en2fr.sh"


def _sizes(name: str, source: str) -> dict[str, Setting]:
    return {size: public(number, source) for size, number in TRANSFORMER_SIZES[name].items()}


IWSLT: Mapping[str, Setting] = {
    **_sizes("iwslt", "facebookresearch/fairseq@3d262bb fairseq/models/transformer/transformer_legacy.py l.227"),
    "vocabulary_size": public(10_000, f"{_FAIRSEQ}: joint; there by subword-nmt, here by SentencePiece"),
    "steps": public(300_000, _RDROP),
    "batch_tokens": public(4_096, _FAIRSEQ),
    "max_length": public(175, f"{_FAIRSEQ}, prepare-iwslt14.sh"),
    "length_ratio": public(1.5, f"{_FAIRSEQ}, prepare-iwslt14.sh"),
    "optimizer": public("adam", _FAIRSEQ),
    "beta_2": public(0.98, _FAIRSEQ),
    "learning_rate": public(5e-4, _FAIRSEQ),
    "schedule": public("inverse_square_root", _FAIRSEQ),
    "warmup": public(4_000 / 300_000, f"{_FAIRSEQ}: 4,000 steps"),
    "decoupled_decay": public(1e-4, _FAIRSEQ),
    "label_smoothing": public(0.1, _FAIRSEQ),
    "beams": public(5, _FAIRSEQ),
    "alpha": ours(1.0, "fairseq's default length penalty, as the exponent of our normalization"),
    "tokenize": public("none", f"{_FAIRSEQ}: BLEU of tokenized text"),
}
WMT: Mapping[str, Setting] = {
    **_sizes("base", f"{_VASWANI}, Table 3"),
    "vocabulary_size": public(32_000, _VASWANI),
    "steps": public(100_000, _VASWANI),
    "batch_tokens": public(25_000, _VASWANI),
    "max_length": public(250, _PREPARE),
    "length_ratio": public(1.5, _PREPARE),
    "optimizer": public("adam", _VASWANI),
    "beta_2": public(0.98, _VASWANI),
    "epsilon": public(1e-9, _VASWANI),
    "learning_rate": public(512**-0.5 * 4_000**-0.5, f"{_VASWANI}, Equation 3 at its peak"),
    "schedule": public("inverse_square_root", _VASWANI),
    "warmup": public(4_000 / 100_000, f"{_VASWANI}: 4,000 steps"),
    "label_smoothing": public(0.1, _VASWANI),
    "beams": public(4, _VASWANI),
    "alpha": public(0.6, _VASWANI),
    "tokenize": ours("13a", "sacrebleu's own, for raw text"),
    # Vaswani et al. average the last 5 checkpoints, which is not built; an average of the weights takes its place.
    "ema": ours(0.999, "in place of the mean of the last 5 checkpoints"),
}
_Rows = Mapping[str, tuple[str, Mapping[str, Setting], Setting | None]]


def _rows(rate: Setting, figure: Setting | None, baseline: Setting | None) -> _Rows:
    return {
        "No noise": ("none", {}, None),
        "Dropout": ("dropout", {"noise_rate": rate}, baseline),
        "Variational Dropout": ("variational_dropout", {"noise_rate": ours(0.1, "no public recipe")}, None),
        "DropPath": ("drop_path", {"noise_rate": ours(0.1, "no public recipe")}, None),
        AUTODROPOUT: ("patterns", {}, figure),
    }


_TINY: dict[str, Any] = {
    "num_layers": 1,
    "hidden_dim": 16,
    "num_heads": 2,
    "intermediate_dim": 16,
    "vocabulary_size": 200,
    "steps": 4,
}
_TINY |= {"batch_tokens": 64, "max_length": 24, "train_pairs": 200, "test_pairs": 4, "beams": 2, "warmup": 0.25}
_SMALL: dict[str, Any] = {
    "num_layers": 2,
    "hidden_dim": 128,
    "num_heads": 4,
    "intermediate_dim": 512,
    "vocabulary_size": 6_000,
}
_SMALL |= {"steps": 3_000, "batch_tokens": 1_024, "max_length": 48, "length_ratio": 9.0, "test_pairs": 1_000}
_SMALL |= {"warmup": 0.1, "learning_rate": 3e-3, "normalize_first": True}


def _recipes(
    data: str, column: str, common: Mapping[str, Setting], rows: _Rows, small: str, place: str
) -> list[Recipe]:
    scales: Mapping[str, Mapping[str, Any]] = {
        "tiny": {**_TINY, "data": small, "length_ratio": 9.0},
        "small": {**_SMALL, "data": small},
    }
    return [
        Recipe(4, column, row, "translation", data, "test BLEU", {**common, **own}, scales, noise, figure, place=place)
        for row, (noise, own, figure) in rows.items()
    ]


RECIPES = (
    *_recipes(
        "iwslt14",
        "IWSLT'14 De-En, Transformer",
        IWSLT,
        _rows(public(0.3, _FAIRSEQ), paper("35.8"), None),
        "iwslt14-subset",
        "iwslt14",
    ),
    *_recipes(
        "wmt14",
        "WMT'14 En-Fr, Transformer base",
        WMT,
        _rows(public(0.1, _VASWANI), None, public("38.1", _VASWANI)),
        "multi30k",
        "wmt14",
    ),
)
