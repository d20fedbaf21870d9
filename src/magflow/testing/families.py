"""The contract of a potential family (:class:`magflow.core.protocols.PotentialFamily`)."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np

from magflow.core import plugins
from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.dataset import Dataset
from magflow.core.force_constants import MomentsOf
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.protocols import FitReport, LearnsForceConstants, Potential, PotentialFamily, SupportsGrades
from magflow.core.undecided import TellsUndecided
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member
from magflow.properties.displaced import columns_of
from magflow.testing.contract import agree, clause, demand, refused
from magflow.testing.potentials import PotentialContract, pickled, twin
from magflow.testing.settings import SettingsContract
from magflow.testing.springs import ELEMENTS, spring_constants, springs, two_atoms, without_moments


@dataclass(frozen=True, eq=False)
class PotentialFamilyContract(SettingsContract):
    """What every family keeps, and the potentials it fits; it makes eight fits to 40 small frames.

    Parameters
    ----------
    plugin
        The family, with settings that make a fit short.
    start
        What each fit begins from, for a family that cannot begin from nothing.
    """

    start: Potential | None = field(default=None, kw_only=True)

    group: ClassVar[str] = plugins.POTENTIAL_FAMILIES

    @classmethod
    def clauses(cls) -> list[str]:
        """Those on the family, then those on what it fits."""
        return [*super().clauses(), *PotentialContract.clauses()]

    def check(self, name: str) -> None:
        """As in every contract; a clause on potentials is asked of the fit with seed 1."""
        if name in PotentialContract.clauses():
            self.of_potential.check(name)
        else:
            super().check(name)

    @cached_property
    def of_potential(self) -> PotentialContract:
        """The contract of the fit with seed 1."""
        return PotentialContract(self.fitted[0], self.plugin.load, bool(self.plugin.magnetic), self.frames)

    @cached_property
    def frames(self) -> list[Frame]:
        """20 frames that no fit sees."""
        return two_atoms(20, seed=1)

    @cached_property
    def labels(self) -> list[LabeledFrame]:
        """40 labels it can learn from."""
        return self._known([springs(f) for f in two_atoms(40, seed=0)])

    @cached_property
    def unseen(self) -> list[LabeledFrame]:
        """20 others."""
        return self._known([springs(f) for f in self.frames])

    @cached_property
    def fitted(self) -> tuple[Potential, FitReport]:
        """Potential and report of the fit with seed 1."""
        return self.fit(seed=1)

    def fit(
        self, labels: Sequence[LabeledFrame] | None = None, *, seed: int, **options: Any
    ) -> tuple[Potential, FitReport]:
        """Fit to all labels, or to those given."""
        family: PotentialFamily = self.plugin
        options.setdefault("start", self.start)
        return family.fit(self.labels if labels is None else labels, elements=ELEMENTS, seed=seed, **options)

    def _known(self, items: list[LabeledFrame]) -> list[LabeledFrame]:
        return items if self.plugin.magnetic else without_moments(items)

    @clause
    def is_a_potential_family(self) -> None:
        """It has everything the protocol names."""
        demand(isinstance(self.plugin, PotentialFamily), "it lacks something of magflow.core.protocols.PotentialFamily")

    @clause
    def probe_never_raises_and_is_ok_here(self) -> None:
        """What it needs is found, each thing with a name and a word on it."""
        found = self.plugin.probe()
        demand(found and all(p.ok and p.name and p.detail for p in found), f"probe finds {found}")

    @clause
    def a_fit_learns(self) -> None:
        """On unseen frames the forces are better than half their scatter and the energies follow the labels."""
        potential, report = self.fitted
        found = potential.predict([item.configuration for item in self.unseen])
        forces = np.concatenate([item.label.forces for item in self.unseen])
        error, scatter = float(np.sqrt(np.mean((found.forces - forces) ** 2))), float(forces.std())
        demand(error < 0.5 * scatter, f"RMSE of the forces {error:.3g} eV/A, their scatter {scatter:.3g}")
        energy = np.array([item.label.energy for item in self.unseen])
        follows = float(np.corrcoef(found.energy, energy)[0, 1])
        demand(follows > 0.95, f"correlation of the energies {follows:.3g}")
        demand(
            {"energy", "forces"} <= set(report.rmse["train"]), f"the report has errors of {set(report.rmse['train'])}"
        )
        demand(report.cost.wall_seconds > 0.0, "the fit took no time")

    @clause
    def a_seed_decides_the_fit(self) -> None:
        """The same seed gives the same potential, another seed another one."""
        mine = self.fitted[0].predict(self.frames)
        again, other = (self.fit(seed=seed)[0].predict(self.frames) for seed in (1, 2))
        agree(again.energy, mine.energy, "energies of a second fit with the same seed")
        demand(not np.allclose(other.forces, mine.forces, atol=1e-12), "another seed gives the same potential")

    @clause
    def a_fit_starts_from_a_potential_and_looks_at_validation_labels(self) -> None:
        """`start`, `validation` and `progress` are heeded: the report tells the errors on both sets."""
        told: list[float] = []
        _, report = self.fit(
            seed=1, start=self.fitted[0], validation=self.unseen, progress=lambda fraction, text: told.append(fraction)
        )
        demand({"train", "validation"} <= set(report.rmse), f"the report has errors on {set(report.rmse)}")
        demand(all(0.0 <= f <= 1.0 for f in told), f"progress told: {told}")

    @clause
    def a_fit_goes_on_from_its_workdir(self) -> None:
        """A fit with a workdir gives the same potential; the workdir of another fit is refused with InputError."""
        mine = self.fitted[0].predict(self.frames).energy
        with tempfile.TemporaryDirectory(prefix="magflow-contract-") as name:
            workdir = Path(name) / "fit"
            for what in ("with a workdir", "that goes on in its workdir"):
                found = self.fit(seed=1, workdir=workdir)[0]
                agree(found.predict(self.frames).energy, mine, f"energies of a fit {what}")
            with refused(InputError, "a fit in the workdir of another"):
                self.fit(self.labels[:-1], seed=1, workdir=workdir)

    @clause
    def what_is_undecided_falls_with_labels(self) -> None:
        """If it tells what labels leave undecided: rows of each frame alone, along any directions, below the noise on
        what is labelled, and shorter the more labels there are.
        """
        if not isinstance(self.plugin, TellsUndecided):
            raise SkipTest("does not tell what labels leave undecided")
        before = self.plugin.undecided_before(self.labels[:20], elements=ELEMENTS, seed=1)
        few, most = (self.plugin.undecided(self.fitted[0], self.labels[:n], seed=1) for n in (20, 40))
        first, second, third = (u.rows(self.frames) for u in (before, few, most))
        agree([len(r) for r in (first, second, third)], [len(self.frames)] * 3, "frames with rows")
        for name, rows in (("before labels", first), ("by labels", third)):
            demand(np.isfinite(rows.values).all(), f"rows {name} that are not finite")
        left = [float((r.values**2).sum()) for r in (first, second, third)]
        demand(left[0] > left[1] > left[2], f"variance before labels, with 20 and with 40: {left}")
        taught = most.rows([item.configuration for item in self.labels])
        highest = float((taught.values**2).sum(axis=1).max())
        demand(highest < 1.0, f"a labelled number has {highest:.3g} times the variance of its noise")
        directions = np.random.default_rng(0).normal(size=(most.unknowns, 3))
        along = most.rows(self.frames[2:3], directions).values
        expected = third.values[third.begin[2] : third.begin[3]] @ directions
        agree(along, expected, "rows of a frame alone, in 3 directions", atol=1e-8)

    @clause
    def force_constants_are_met(self) -> None:
        """If it learns from force constants: they come closer, those of moments that follow are refused, and what they
        weigh can be changed.
        """
        if not isinstance(self.plugin, LearnsForceConstants) or not self.plugin.learns_force_constants:
            raise SkipTest("learns from no force constants")
        half = self.plugin.weighing(0.5 * self.plugin.force_constant_weight)
        agree(half.force_constant_weight, 0.5 * self.plugin.force_constant_weight, "half the weight of a component")
        demand(half.learns_force_constants and type(half) is type(self.plugin), "another weight makes another family")
        label, start = spring_constants(magnetic=bool(self.plugin.magnetic)), self.fitted[0]
        tuned, _ = self.fit(seed=1, start=start, force_constants=[label])

        def off(potential: Potential) -> float:
            alone = PotentialEnsemble((potential,), self.plugin.name)
            return float(np.abs(columns_of(alone, label.frame, label.atoms) - label.columns).max())

        before, after = off(start), off(tuned)
        demand(after < 0.5 * before, f"errors of force constants before {before:.3g} and after {after:.3g} eV/A^2")
        if self.plugin.magnetic:
            with refused(InputError, "force constants of moments that follow the atoms"):
                self.fit(seed=1, start=start, force_constants=[replace(label, moments=MomentsOf.RELAXED)])

    @clause
    def ensemble_saves_and_loads(self) -> None:
        """Two members make an ensemble that differs in itself, and is the same after loading."""
        if not self.registered:
            raise SkipTest("not registered: an ensemble finds its family by name")
        data = Dataset(self.labels)
        fit = partial(fit_member, self.plugin, data, elements=ELEMENTS, seed=5, start=self.start)
        members = tuple(fit(member=k)[0] for k in range(2))
        calibration = Calibration({"energy": ErrorModel(2.0, 1e-3)})
        settings = {"settings": self.plugin.model_dump(mode="json")}
        ensemble = PotentialEnsemble(members, self.plugin.name, calibration, settings)
        with tempfile.TemporaryDirectory(prefix="magflow-contract-") as name:
            loaded = PotentialEnsemble.load(ensemble.save(Path(name) / "ensemble"))
        one, two = ensemble.predict(self.frames), loaded.predict(self.frames)
        agree(two.mean.forces, one.mean.forces, "mean forces after loading")
        agree(two.deviation.energy, one.deviation.energy, "deviation of the energies after loading")
        demand((np.asarray(one.deviation.forces) > 0).any(), "the members do not differ")
        copied = twin(twin(ensemble, copy.deepcopy), pickled).predict(self.frames)
        agree(copied.mean.forces, one.mean.forces, "mean forces after deepcopy and pickle")
        if isinstance(members[0], SupportsGrades):
            demand(np.isfinite(ensemble.grades(self.frames)).all(), "a grade that is not finite")
