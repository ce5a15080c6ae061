"""One number for each draw, made of the seed and the position alone: no state, so nothing else can change it."""

import hashlib
import struct

_PAIR = struct.Struct("<QQ")
_BITS = 53


def uniform(seed: int, position: int) -> float:
    """From 0 to below 1, evenly; the same for the same seed (of 64 bits) and position on every machine."""
    digest = hashlib.blake2b(_PAIR.pack(seed, position), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> (64 - _BITS)) / (1 << _BITS)
