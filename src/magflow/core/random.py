"""Random numbers by counting: a number belongs to its key, step, atom and purpose, not to the order of the calls."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from magflow.core.types import FloatArray

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)


class Purpose(IntEnum):
    """What a number is for: streams that never meet."""

    NOISE = 0
    VELOCITY = 1
    PISTON = 2


def philox(counter: np.ndarray, key: int) -> np.ndarray:
    """Philox 4x32 with 10 rounds (Salmon et al., SC11, doi:10.1145/2063384.2063405).

    Parameters
    ----------
    counter
        (n, 4) uint64 that hold 32-bit words.
    key
        64 bits.

    Returns
    -------
    (n, 4) uint64 that hold 32-bit words.
    """
    c0, c1, c2, c3 = counter.T
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = (b >> _WORD) ^ c1 ^ np.uint64(k0), b & _LOW
        c2, c3 = (a >> _WORD) ^ c3 ^ np.uint64(k1), a & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1)


def normals(key: int, step: int, n: int, purpose: Purpose) -> FloatArray:
    """(n, 3) standard normal numbers of n atoms at one step, by Box and Muller."""
    words = [step & 0xFFFFFFFF, step >> 32, 0, int(purpose)]
    counter = np.tile(np.array(words, dtype=np.uint64), (n, 1))
    counter[:, 2] = np.arange(n, dtype=np.uint64)
    u = (philox(counter, key) + 0.5) * 2.0**-32
    radius, angle = np.sqrt(-2.0 * np.log(u[:, ::2])), 2.0 * np.pi * u[:, 1::2]
    return np.column_stack([radius[:, 0] * np.cos(angle[:, 0]), radius[:, 0] * np.sin(angle[:, 0]),
                            radius[:, 1] * np.cos(angle[:, 1])])  # fmt: skip
