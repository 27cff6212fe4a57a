"""A plugin for pytest: TensorFlow is not to be had, as on a machine without it."""

import sys

assert "tensorflow" not in sys.modules
sys.modules["tensorflow"] = None  # an import fails, and whoever looks for it finds none
