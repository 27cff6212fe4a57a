"""One of the scripts in examples/, on generated data, as a process of its own: `python -m tests.example_session`.

Its 16 trials, its model and its lines are as they stand; a trial is an epoch, the table is small.
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import tf_autodropout as tad
from tests.stand_ins import stand_ins
from tf_autodropout.search.engines.config import EngineConfig
from tf_autodropout.search.search_config import SearchConfig

EXAMPLES = Path(__file__).parents[1] / "examples"


def main(name: str, engine: str, out: str) -> None:
    """Runs `examples/NAME.py`; prints its rows as the last line."""
    begin, compare, fit = tad.AutoDropout.__init__, tad.AutoDropout.compare, tad.AutoDropout.fit
    made: list[tad.AutoDropout] = []

    def start(self: Any, *given: Any, **named: Any) -> None:
        where = EngineConfig(engine, workers=None if engine == "in-process" else 2)
        config = SearchConfig(finalists=2, fresh_seeds=0)
        begin(self, *given, **named | {"engine": where, "config": config, "out": out})
        made.append(self)

    change: Any = setattr
    change(tad.AutoDropout, "__init__", start)
    change(tad.AutoDropout, "fit", lambda self, *given, **named: fit(self, *given, **named | {"epochs": 1}))
    change(tad.AutoDropout, "compare", lambda self, data: compare(self, data, seeds=2, tuning=2))
    for owner, what, value in stand_ins():
        change(owner, what, value)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    print(json.dumps([[row["trial"], row["status"]] for row in made[0].results()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
