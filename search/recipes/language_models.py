"""Table 4, language models: Transformer-XL on Penn Treebank and WikiText-2.

The search (not run; the paper: 160,000 steps a pattern, batches of 16, segments of 70, reward 80 / ValidPPL):

    tf-autodropout reproduce table4 --rows 'ptb/search' --data-dir D --out runs/table4

The finals (not run at full size; the paper: PTB 54.9 with AutoDropout). The set found on PTB serves WikiText-2:

    tf-autodropout reproduce table4 --rows 'ptb/*' --patterns runs/ptb --data-dir D --out runs/table4
    tf-autodropout reproduce table4 --rows 'wikitext-2/*' --patterns runs/ptb --data-dir D --out runs/table4
"""

from collections.abc import Mapping
from typing import Any

from tf_autodropout.models.xl_transformer import PTB
from tf_autodropout.search.recipes.recipe import AUTODROPOUT, SEARCH, Recipe, Setting, ours, paper, public

_XL = "xyz961014/longterm@ee3f057 CRTN/baseline/pytorch/ptbrun.sh, the best public attempt"
_LEADERBOARD = "the leaderboard of Papers With Code, as archived"
_WHY = "24 M parameters are published; how they are made up is not"

COMMON: Mapping[str, Setting] = {
    "num_layers": ours(PTB["num_layers"], _WHY),
    "hidden_dim": ours(PTB["hidden_dim"], f"{_WHY}; 410 and 10 heads are those of WikiText-103's base"),
    "num_heads": ours(PTB["num_heads"], _WHY),
    "intermediate_dim": ours(PTB["intermediate_dim"], _WHY),
    "steps": paper(300_000),
    "batch_size": paper(16),
    "segment_length": paper(70),
    "memory_length": public(70, _XL),
    "evaluation_memory_length": ours(70, "as while training"),
    "optimizer": public("adam", _XL),
    "learning_rate": public(4e-4, _XL),
    "schedule": paper("cosine"),
    "warmup": ours(5_000 / 300_000, "5,000 steps, as in the public attempt"),
    "clip_norm": public(0.25, "kimiyoung/transformer-xl@44781ed pytorch/train.py, default"),
    "decoupled_decay": public(1.2e-6, _XL),
    "precision": ours("float32", "the paper names none"),
}
_RATE = {"noise_rate": public(0.5, _XL), "attention_rate": public(0.2, f"{_XL}: dropatt .15-.2")}
_Rows = Mapping[str, tuple[str, Mapping[str, Setting], Setting | None]]
_PTB_ROWS: _Rows = {
    "No noise": ("none", {}, None),
    "Dropout": ("dropout", _RATE, None),
    "Variational Dropout": ("variational_dropout", {"noise_rate": ours(0.3, "no public recipe")}, None),
    "DropPath": ("drop_path", {"noise_rate": ours(0.1, "no public recipe")}, None),
    AUTODROPOUT: ("patterns", {}, public("54.9", _LEADERBOARD)),
}
_WIKITEXT_ROWS: _Rows = {**_PTB_ROWS, AUTODROPOUT: ("patterns", {}, None)}
_SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 16, "steps": 4, "batch_size": 4}
    | {"segment_length": 8, "memory_length": 8, "evaluation_memory_length": 16, "train_tokens": 2_000}
    | {"evaluation_tokens": 400, "warmup": 0.25},
    "small": {"num_layers": 4, "hidden_dim": 128, "num_heads": 4, "intermediate_dim": 512, "steps": 1_500}
    | {"segment_length": 64, "memory_length": 64, "evaluation_memory_length": 128, "learning_rate": 2e-3}
    | {"warmup": 100 / 1_500, "noise_rate": 0.1, "attention_rate": 0.1},
}


def _recipes(data: str, name: str, rows: _Rows) -> list[Recipe]:
    def scales(settings: Mapping[str, Setting]) -> dict[str, dict[str, Any]]:
        return {
            scale: {k: v for k, v in sizes.items() if k in settings or not k.endswith("_rate") or k == "learning_rate"}
            for scale, sizes in _SIZES.items()
        }

    return [
        Recipe(
            4,
            f"{name}, Transformer-XL",
            row,
            "text",
            data,
            "test perplexity",
            {**COMMON, **own},
            scales({**COMMON, **own}),
            noise,
            figure,
            lower_is_better=True,
            place=data,
        )
        for row, (noise, own, figure) in rows.items()
    ]


RECIPES = (
    Recipe(
        4,
        "Penn Treebank, Transformer-XL",
        "search",
        "text_proxy",
        "ptb",
        "validation perplexity",
        {
            **COMMON,
            "steps": paper(160_000),
            "trials": ours(16_384, "as for CIFAR-10"),
            "granularity": ours("layer", "a pattern for each role"),
        },
        {
            "tiny": {**_SIZES["tiny"], "steps": 10, "trials": 2, "granularity": "network"},
            "small": {**_SIZES["small"], "trials": 64},
        },
        kind=SEARCH,
        lower_is_better=True,
        place="ptb",
    ),
    *_recipes("ptb", "Penn Treebank", _PTB_ROWS),
    *_recipes("wikitext-2", "WikiText-2", _WIKITEXT_ROWS),
)
