"""What the contracts share: clauses, and how a broken one is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import SkipTest

import numpy as np

from magflow.core.types import FloatArray

Clause = TypeVar("Clause", bound=Callable[..., None])

_MARK = "__clause__"


class ContractError(AssertionError):
    """A clause does not hold: its name, what it says, what was found."""


def clause(method: Clause) -> Clause:
    """Mark a method of a contract as a clause; the first line of its docstring says what has to hold."""
    setattr(method, _MARK, True)
    return method


class Contract:
    """Clauses that a plug-in has to keep.

    A clause that does not apply (a family that reads no moments) raises :class:`unittest.SkipTest`, which pytest shows
    as skipped.
    """

    @classmethod
    def clauses(cls) -> list[str]:
        """Names of the clauses, in the order they are best read."""
        found: dict[str, None] = {}
        for kind in reversed(cls.__mro__):
            found |= dict.fromkeys(name for name, member in vars(kind).items() if hasattr(member, _MARK))
        return list(found)

    def check(self, name: str) -> None:
        """Check one clause.

        Raises
        ------
        ContractError
            If it does not hold.
        unittest.SkipTest
            If it does not apply.
        """
        method = getattr(self, name)
        says = (method.__doc__ or "").strip().partition("\n")[0]
        try:
            method()
        except SkipTest:
            raise
        except Exception as error:
            seen = str(error) if isinstance(error, ContractError) else f"{type(error).__name__}: {error}"
            raise ContractError(f"{name}: {says}\n{seen}") from error

    def broken(self) -> dict[str, str]:
        """Every clause that does not hold, with what was found; empty if the contract is kept."""
        found = {}
        for name in self.clauses():
            try:
                self.check(name)
            except SkipTest:
                continue
            except ContractError as error:
                found[name] = str(error)
        return found


def demand(condition: object, said: str) -> None:
    """Raise :class:`ContractError` saying `said` unless `condition` holds."""
    if not condition:
        raise ContractError(said)


def given(value: Any, what: str) -> FloatArray:
    """`value` as an array, or :class:`ContractError` if it is None."""
    demand(value is not None, f"{what}: None")
    return np.asarray(value, dtype=float)


def agree(found: Any, expected: Any, what: str, *, atol: float = 0.0, rtol: float = 0.0) -> None:
    """Raise :class:`ContractError` unless two arrays agree within ``atol + rtol |expected|``."""
    one, other = given(found, what), given(expected, f"{what}, expected")
    demand(one.shape == other.shape, f"{what}: shape {one.shape}, expected {other.shape}")
    if not np.allclose(one, other, atol=atol, rtol=rtol):
        raise ContractError(
            f"{what}: off by up to {np.max(np.abs(one - other)):.3g}, {atol:g} allowed\n"
            f"found    {one.tolist()}\nexpected {other.tolist()}"
        )


@contextmanager
def refused(kind: type[Exception], what: str) -> Iterator[None]:
    """Raise :class:`ContractError` unless the block raises `kind`."""
    try:
        yield
    except kind:
        return
    except Exception as error:
        raise ContractError(f"{what}: {kind.__name__} expected, raised {type(error).__name__}: {error}") from error
    raise ContractError(f"{what}: accepted, {kind.__name__} expected")
