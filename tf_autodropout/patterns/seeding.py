"""One number seeds a whole network: every named place derives its own seed from it."""

import zlib


def site_seed(seed: int, *names: object) -> int:
    """Returns the 31-bit seed of the place called `names` in a network seeded with `seed`."""
    text = "/".join([str(seed), *map(str, names)])
    return zlib.crc32(text.encode()) & 0x7FFFFFFF
