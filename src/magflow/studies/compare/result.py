"""The result of a comparison of families: every fit, one standing per entry, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from magflow.core.prediction import QUANTITIES
from magflow.core.versions import Mark, known_fields
from magflow.io.importing.magnetic_states import MagneticStates
from magflow.studies.base import ShownInNotebooks, read_result
from magflow.studies.compare.timing import InferenceCost

DIRECTORY = "comparison"
"""Below the directory of a campaign."""
RESULTS = "results.json"


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
        cost = None if inference is None else InferenceCost(**known_fields(InferenceCost, inference))
        return cls(**known_fields(cls, d) | {"inference": cost})


@dataclass(frozen=True)
class Standing:
    """One entry over its seeds.

    Parameters
    ----------
    rmse, mae
        Quantity to median, least and largest over the seeds, house units (energy in eV/atom).
    train_cpu_seconds, single_us_per_atom, batch_us_per_atom
        Medians over the seeds; None if no fit succeeded.
    remarks
        What this entry cannot do on these labels, and what failed.
    """

    entry: str
    family: str
    fits: int
    failed: int
    rmse: Mapping[str, tuple[float, float, float]]
    mae: Mapping[str, tuple[float, float, float]]
    train_cpu_seconds: float | None
    single_us_per_atom: float | None
    batch_us_per_atom: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison(ShownInNotebooks):
    """All fits, and what was compared (:meth:`ComparisonTask.about`)."""

    form: ClassVar[Mark] = Mark("comparison", "magflow-comparison")

    fits: tuple[ComparedFit, ...]
    about: Mapping[str, Any]

    def __repr__(self) -> str:
        names = ", ".join(entry["name"] for entry in self.about["entries"])
        return f"<Comparison of {names}: {len(self.fits)} fits>"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self.form.stamp, "about": dict(self.about), "fits": [fit.as_dict() for fit in self.fits]}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Comparison:
        """Inverse of :meth:`as_dict`.

        Raises
        ------
        InputError
            If `d` is something else.
        NewerFormatError
            If a newer magflow wrote it.
        """
        d = cls.form.upgraded(d)
        return cls(tuple(ComparedFit.from_dict(fit) for fit in d["fits"]), d["about"])

    @property
    def quantities(self) -> tuple[str, ...]:
        """Quantities the test labels hold."""
        return tuple(q for q in QUANTITIES if q in self.about["labels"]["test"]["quantities"])

    @property
    def magnetic_states(self) -> MagneticStates | None:
        """What geometry does not decide of the energies learnt from; None for few labels, and older comparisons."""
        states = self.about.get("magnetic_states")
        return None if states is None else MagneticStates(**known_fields(MagneticStates, states))

    def of(self, entry: str) -> list[ComparedFit]:
        """Fits of one entry, by seed."""
        return sorted((fit for fit in self.fits if fit.entry == entry), key=lambda fit: fit.seed)

    def standings(self, by: str = "forces") -> list[Standing]:
        """One per entry, the smallest RMSE of the quantity `by` first; entries that do not predict it come last."""
        found = [self._standing(entry) for entry in self.about["entries"]]
        return sorted(found, key=lambda s: (s.rmse.get(by, (np.inf,))[0], not s.rmse, s.entry))

    def _standing(self, entry: Mapping[str, Any]) -> Standing:
        fits = self.of(entry["name"])
        good = [fit for fit in fits if fit.ok]
        return Standing(
            entry["name"],
            entry["family"],
            len(fits),
            len(fits) - len(good),
            _over_seeds(good, "rmse"),
            _over_seeds(good, "mae"),
            _median([fit.fit_cpu_seconds for fit in good]),
            _median([fit.inference.single_us_per_atom for fit in good if fit.inference]),
            _median([fit.inference.batch_us_per_atom for fit in good if fit.inference]),
            tuple(self._remarks(entry, fits)),
        )

    def _remarks(self, entry: Mapping[str, Any], fits: list[ComparedFit]) -> list[str]:
        test = self.about["labels"]["test"]
        out = []
        if not entry["magnetic"] and test["with_moments"]:
            out.append(
                f"reads no moments: of the {test['with_moments']} of {test['count']} test labels that carry some it "
                "can learn only an average over magnetic states"
            )
        states = self.magnetic_states
        if not entry["magnetic"] and states is not None and states.mixed:
            out.append(states.meaning)
        good = [fit for fit in fits if fit.ok]
        lacking = [q for q in self.quantities if good and not any(q in (fit.errors or {}) for fit in good)]
        out += [f"predicts no {q.replace('_', ' ')}" for q in lacking]
        reasons: dict[str, list[int]] = {}
        for fit in fits:
            if fit.failure is not None:
                reasons.setdefault(fit.failure, []).append(fit.seed)
        return out + [f"seed {', '.join(map(str, seeds))} failed: {why}" for why, seeds in reasons.items()]


def _over_seeds(fits: list[ComparedFit], statistic: str) -> dict[str, tuple[float, float, float]]:
    out = {}
    for quantity in QUANTITIES:
        values = [fit.errors[quantity][statistic] for fit in fits if fit.errors and quantity in fit.errors]
        if values:
            out[quantity] = (float(np.median(values)), min(values), max(values))
    return out


def _median(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def read_comparison(directory: Path) -> Comparison | None:
    """What ``magflow compare`` left in `directory`; None if it left nothing.

    Raises
    ------
    InputError
        If it is damaged.
    NewerFormatError
        If a newer magflow wrote it.
    """
    return read_result(directory / RESULTS, Comparison)
