"""An element as a source of frames: crystals as hot as a Debye crystal is, and melts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magflow.campaign.beginnings import INDUCED, usual_moments
from magflow.campaign.lattices import crystals
from magflow.core.frame import Frame
from magflow.explore.builders import CrystalStructure, from_builder
from magflow.explore.candidate import Candidate
from magflow.explore.domain import DomainSettings, sample
from magflow.explore.geometry import repeated
from magflow.explore.md import MdSettings, run_md
from magflow.explore.orderings import PrototypeOrdering
from magflow.explore.pool import ferromagnetic
from magflow.explore.prototypes import Prototype
from magflow.explore.thermal import debye_displacement, debye_temperature, melting_point
from magflow.potentials.ensemble import PotentialEnsemble

TEMPERATURES = (0.25, 0.75, 1.25)
"""Of the crystals, in melting points; melts are at the last."""
MELT = "melt"
ATOMS = 4

_SOLID = DomainSettings(volume=(-0.02, 0.06), strain=0.02)
_SHAKEN = DomainSettings(volume=(0.02, 0.12), strain=0.02, displacement=0.4)
_STEPS, _TIMESTEP = 500, 2.0


@dataclass(frozen=True)
class Metal:
    """An element as it is sampled.

    Parameters
    ----------
    crystal
        The ideal cell, of four atoms where that can be.
    melting, debye
        Melting point and Debye temperature, K.
    moment
        That spin-polarised labels start from, muB; 0: the labels are non-magnetic unless the settings say otherwise.
    """

    element: str
    crystal: Frame
    melting: float
    debye: float
    moment: float

    @classmethod
    def of(
        cls,
        element: str,
        *,
        melting: float | None = None,
        debye: float | None = None,
        structure: str | None = None,
        a: float | None = None,
    ) -> Metal:
        """With what ASE and pymatgen list where nothing is said.

        Raises
        ------
        InputError
            No such element, or a number that neither of them has.
        """
        moment = usual_moments([element])[element]
        builder = crystals([element], [] if structure is None else [structure], a)[0].builder
        cube = builder.structure in (CrystalStructure.FCC, CrystalStructure.BCC)
        cell = from_builder(builder.model_copy(update={"cubic": cube}), element)
        return cls(
            element,
            repeated(cell, (max(1, ATOMS // len(cell)), 1, 1)),
            melting_point(element) if melting is None else melting,
            debye_temperature(element) if debye is None else debye,
            moment if moment > INDUCED else 0.0,
        )

    def solids(self, share: float, count: int, seed: int, skip: int = 0) -> list[Frame]:
        """Crystals at `share` of the melting point, ``skip`` of which there are already."""
        u = debye_displacement(self.element, share * self.melting, self.debye)
        return self._sampled(_SOLID.model_copy(update={"displacement": u}), count, seed, skip)

    def melts(self, model: PotentialEnsemble, count: int, seed: int, skip: int = 0) -> list[Frame]:
        """The last sound state of each of `count` runs of 1 ps from a cell shaken apart, on `model`."""
        starts = [Candidate(self.magnetic(f), MELT) for f in self._sampled(_SHAKEN, count, seed, skip)]
        how = MdSettings(
            temperatures_k=(TEMPERATURES[-1] * self.melting,),
            steps=_STEPS,
            timestep_fs=_TIMESTEP,
            snapshot_interval=_STEPS // 20,
            grade_break=np.inf,
            forces_deviation_break=np.inf,
            relax_moments=False,
        )
        runs = [run_md([start], model, how, {}, seed + skip + k) for k, start in enumerate(starts)]
        return [run.candidates[-1].frame.non_magnetic() for run in runs if run.candidates]

    def magnetic(self, frame: Frame) -> Frame:
        """With the moments that labels start from, all parallel."""
        return ferromagnetic(frame, {self.element: self.moment}) if self.moment else frame

    def _sampled(self, domain: DomainSettings, count: int, seed: int, skip: int) -> list[Frame]:
        still = Prototype(self.element, PrototypeOrdering.NM, self.crystal, (0,) * len(self.crystal))
        return [c.frame for c in sample([still], domain, {}, count, seed, skip)]
