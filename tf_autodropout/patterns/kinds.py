"""All kinds of pattern: a new one is a file beside this one, a line here and one in `masks/kinds.py`."""

from tf_autodropout.patterns.conv_pattern import ConvPattern
from tf_autodropout.patterns.drop_block_pattern import DropBlockPattern
from tf_autodropout.patterns.pattern import Pattern
from tf_autodropout.patterns.transformer_pattern import TransformerPattern

KINDS: tuple[type[Pattern], ...] = (ConvPattern, TransformerPattern, DropBlockPattern)
SEARCHED = {kind.TYPE: kind for kind in KINDS if kind.GRID}
ONE_OF_KINDS = f"a {', a '.join(kind.TYPE for kind in KINDS[:-1])} or a {KINDS[-1].TYPE}"  # for messages
