"""A plugin for pytest: TensorFlow is not to be had, as on a machine without it."""

import sys


class _Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ImportError(f"{name} is not to be had")


assert "tensorflow" not in sys.modules
sys.meta_path.insert(0, _Refuses())
