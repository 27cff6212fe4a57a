"""The search, imported as `tf_autodropout.search`."""

if not __name__.startswith("tf_autodropout."):
    raise ImportError("Import this package as tf_autodropout.search: `from tf_autodropout import search`.")
