"""What families are compared on: entries, one split of labels, seeds; and what came of one fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.prediction import QUANTITIES
from magflow.errors import InputError
from magflow.potentials.training import EnsembleTask
from magflow.studies.compare.timing import InferenceCost


@dataclass(frozen=True)
class Entry:
    """One family with its settings, under a name of its own."""

    name: str
    family: Any

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "._-" for c in self.name):
            raise InputError("not a name for an entry", seen=self.name, expected="letters, digits, '.', '_' and '-'")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "family": self.family.name,
            "magnetic": bool(self.family.magnetic),
            "settings": self.family.model_dump(mode="json"),
        }


@dataclass(frozen=True, eq=False)
class ComparisonTask:
    """Entries to be fitted to the same labels and held against the same others.

    Parameters
    ----------
    train, test
        Labels to learn from, and labels no fit sees.
    seeds
        Every entry is fitted once per seed.
    validation
        Share of `train` each fit keeps aside to stop early.

    Raises
    ------
    InputError
        Nothing to compare, two entries of one name, labels both learnt from and tested on, an element only the test
        labels hold.
    """

    entries: tuple[Entry, ...]
    train: Dataset
    test: Dataset
    seeds: tuple[int, ...]
    validation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("entries", "train", "test", "seeds"):
            if not len(getattr(self, name)):
                raise InputError("nothing to work with", where=name, expected="at least one entry")
        names = [entry.name for entry in self.entries]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise InputError(
                "two entries have the same name", seen=", ".join(twice), hint="write NAME=FAMILY to tell them apart"
            )
        shared = {item.label_id for item in self.train} & {item.label_id for item in self.test}
        if shared:
            raise InputError(
                "labels to learn from are among those to be tested on", seen=f"{len(shared)}, such as {min(shared)}"
            )
        if foreign := sorted(set(self.test.elements) - set(self.train.elements)):
            raise InputError(
                "an element is in the test labels only",
                seen=", ".join(foreign),
                expected="only " + ", ".join(self.train.elements),
            )

    def fits(self) -> Iterator[tuple[Entry, int]]:
        """Entry and seed of every fit, seed by seed: an interrupted comparison is a complete one of fewer seeds."""
        for seed in self.seeds:
            for entry in self.entries:
                yield entry, seed

    def fit_task(self, entry: Entry, seed: int) -> EnsembleTask:
        """The training of one fit: all labels, one member."""
        return EnsembleTask(
            family=entry.family,
            dataset=self.train,
            elements=self.train.elements,
            members=1,
            seed=seed,
            bagging=False,
            validation=self.validation,
        )

    @cached_property
    def _test_key(self) -> str:
        return digest([self.test.fingerprint.encode(), repr([i.label.energy for i in self.test]).encode()])

    def key(self, entry: Entry, seed: int) -> str:
        """12 hex digits of everything that decides the result of one fit."""
        return digest([self.fit_task(entry, seed).key.encode(), self._test_key.encode()], 12)

    def about(self) -> dict[str, Any]:
        """What is compared, JSON-ready."""

        def told(part: Dataset) -> dict[str, Any]:
            return {
                "count": len(part),
                "kinds": [str(kind) for kind in part.kinds],
                "levels_of_theory": [level.as_dict() for level in part.levels_of_theory],
                "fingerprint": part.fingerprint,
                "quantities": [q for q in QUANTITIES if any(_has(item, q) for item in part)],
                "with_moments": sum(_has_moments(item) for item in part),
            }

        return {
            "elements": list(self.train.elements),
            "labels": {"train": told(self.train), "test": told(self.test)},
            "validation": self.validation,
            "entries": [entry.as_dict() for entry in self.entries],
        }


def _has(item: Any, quantity: str) -> bool:
    if quantity == "magnetic_forces":
        return bool(item.magnetic_force_mask.any())
    return getattr(item.label, quantity) is not None


def _has_moments(item: Any) -> bool:
    magmoms = item.configuration.magmoms
    return magmoms is not None and bool(magmoms.any())


@dataclass(frozen=True)
class ComparedFit:
    """What came of one entry and seed.

    Parameters
    ----------
    failure
        Why there is no potential; everything below is empty or None then.
    errors, train_errors
        Quantity to ``n``, ``rmse``, ``mae``, ``max`` on test and training labels, house units (energy in eV/atom).
    strata
        ``composition``, ``ordering``, ``volume`` to stratum to ``labels`` and ``errors`` of test labels.
    fit_cpu_seconds, fit_wall_seconds
        Of the training.
    """

    entry: str
    seed: int
    failure: str | None = None
    errors: Mapping[str, Mapping[str, float]] | None = None
    train_errors: Mapping[str, Mapping[str, float]] | None = None
    strata: Mapping[str, Mapping[str, Any]] | None = None
    converged: bool | None = None
    fit_cpu_seconds: float | None = None
    fit_wall_seconds: float | None = None
    inference: InferenceCost | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a potential."""
        return self.failure is None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> ComparedFit:
        """Inverse of :meth:`as_dict`."""
        inference = d["inference"]
        return cls(**{**d, "inference": None if inference is None else InferenceCost(**inference)})
