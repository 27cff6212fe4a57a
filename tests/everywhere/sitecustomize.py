"""Python imports this where the folder is on `PYTHONPATH`: stand-ins for a preset of KerasHub and a data set of TFDS.

They are in every process then, workers as well.
"""

import importlib.abc
import importlib.util
import sys
from typing import Any


class _Replaced(importlib.abc.MetaPathFinder):
    """Changes two modules as soon as they are imported, and imports nothing before."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in ("keras_hub", "tensorflow_datasets"):
            return None
        sys.meta_path.remove(self)
        try:
            spec: Any = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def execute_and_replace(module: Any) -> None:
            execute(module)
            from tests.stand_ins import OF_MODULES

            setattr(*OF_MODULES[name](module))

        spec.loader.exec_module = execute_and_replace
        return spec


sys.meta_path.insert(0, _Replaced())
