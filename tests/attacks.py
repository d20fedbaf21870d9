"""How often the attacks of the slow tests are made, and from which seed: more of them, or others, may be asked for.

``MAGFLOW_TEST_TIMES=10`` makes each ten times as often; ``MAGFLOW_TEST_SEED=$(date +%j)`` makes others each night.
"""

from __future__ import annotations

import os

TIMES = int(os.environ.get("MAGFLOW_TEST_TIMES", "1"))
FIRST = int(os.environ.get("MAGFLOW_TEST_SEED", "2"))


def rounds(number: int) -> int:
    """So many, as many times as asked for."""
    return number * TIMES


def seeds(number: int) -> range:
    """One seed for each of so many repetitions, as many times as asked for."""
    return range(FIRST, FIRST + rounds(number))
