"""The names of full blocks: each says all tokens from the start to its own last one, and whose they are.

A key is the hash of its parent's key and its own tokens, and the first parent is the hash of a salt. Equal keys mean
equal tokens under equal salts: nobody can make two that collide (BLAKE2b, 256 bits), and the two uses of the hash are
kept apart, so no choice of a salt reaches into another's chain. Nothing here knows where a block lies.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b

_KEY_BYTES = 32
_OF_SALT = b"loquor salt"
_OF_BLOCK = b"loquor block"


def extend_keys(keys: list[bytes], tokens: Sequence[int], salt: bytes, block_tokens: int, blocks: int) -> None:
    """Append to `keys`, those of the first blocks of `tokens`, what is missing to have `blocks` of them.

    Every token is below 2**32, and there are at least `blocks * block_tokens`.
    """
    parent = keys[-1] if keys else _root_key(salt)
    for index in range(len(keys), blocks):
        parent = _block_key(parent, tokens[index * block_tokens : (index + 1) * block_tokens])
        keys.append(parent)


def _root_key(salt: bytes) -> bytes:
    return blake2b(salt, digest_size=_KEY_BYTES, person=_OF_SALT).digest()


def _block_key(parent: bytes, tokens: Sequence[int]) -> bytes:
    return blake2b(parent + array("I", tokens).tobytes(), digest_size=_KEY_BYTES, person=_OF_BLOCK).digest()
