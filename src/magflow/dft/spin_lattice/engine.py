"""The spin-lattice model Hamiltonian (a model, not DFT) as a label engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from magflow.core.arrays import digest
from magflow.core.frame import Frame
from magflow.core.label import Cost, FailureKind, Label, LabelKind, LevelOfTheory
from magflow.core.protocols import Probe
from magflow.core.types import BoolArray, FloatArray
from magflow.dft.frames import held_atoms, lacks_moments
from magflow.dft.spin_lattice.model import SpinLatticeModel
from magflow.errors import InputError

CODE = "spin-lattice model Hamiltonian"
VERSION = "1"
MOMENT_TOLERANCE = 1e-5
"""eV/muB; free moments count as relaxed below it."""


class SpinLatticeEngine(BaseModel):
    """Labels from an analytic spin-lattice model Hamiltonian of Fe-Al: for tests, demos and studies. It is not DFT."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = "spin-lattice"

    kind: LabelKind = Field(
        default=LabelKind.CONSTRAINED,
        description="constrained: at the target moments; spin-polarised: moments relaxed from the targets;"
        " non-magnetic: all moments zero",
    )
    seconds: float = Field(default=0.0, ge=0.0, le=3600.0, description="artificial duration of one label, s")
    failure_rate: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="fraction of the frames, fixed by their content, whose label fails as scf-unconverged",
    )

    def level_of_theory(self, elements: Sequence[str]) -> LevelOfTheory:
        """The model and all its constants.

        Raises
        ------
        InputError
            If an element has no parameters.
        """
        model = SpinLatticeModel()
        unknown = sorted(set(elements) - set(model.species))
        if unknown:
            raise InputError(
                "the spin-lattice model Hamiltonian has no parameters for an element",
                where="label.engine spin-lattice",
                seen=", ".join(unknown),
                expected="only " + ", ".join(model.species),
                hint="use a DFT engine for other elements",
            )
        return LevelOfTheory(CODE, VERSION, self.kind, functional="none", parameters=model.parameters.as_dict())

    def probe(self, elements: Sequence[str]) -> list[Probe]:
        """Whether its parameters cover `elements`; it needs no program and no data."""
        known = SpinLatticeModel().species
        unknown = sorted(set(elements) - set(known))
        detail = f"{CODE}, built in; parameters for {', '.join(known)}"
        if unknown:
            return [Probe(self.name, False, f"{detail}; none for {', '.join(unknown)}", "use a DFT engine")]
        return [Probe(self.name, True, detail)]

    def label(self, frame: Frame, level_of_theory: LevelOfTheory, workdir: Path) -> Label:
        """One label; writes nothing to `workdir`. A frame it cannot do comes back as a failed label."""
        wall, cpu = time.perf_counter(), time.process_time()
        if self.seconds:
            time.sleep(self.seconds)

        def cost() -> Cost:
            return Cost(time.process_time() - cpu, time.perf_counter() - wall)

        def failed(kind: FailureKind, message: str) -> Label:
            return Label.failed(frame, level_of_theory, kind, message, cost=cost())

        if self._draw(frame) < self.failure_rate:
            return failed(FailureKind.SCF_UNCONVERGED, f"drawn to fail: failure_rate is {self.failure_rate:g}")
        lacking = lacks_moments(frame, self.kind)
        if lacking is not None:
            return failed(FailureKind.INVALID_INPUT, lacking)
        model = SpinLatticeModel()
        unknown = sorted(set(frame.species) - set(model.species))
        if unknown:
            return failed(FailureKind.INVALID_INPUT, f"no parameters for {', '.join(unknown)}")
        moments, free = self._moments(model, frame)
        p = model.predict([frame.non_magnetic() if moments is None else frame.replace(magmoms=moments)])
        magnetic_forces = None
        if moments is not None and p.magnetic_forces is not None:
            residual = float(np.abs(p.magnetic_forces[free]).max(initial=0.0))
            if not residual <= MOMENT_TOLERANCE:
                return failed(FailureKind.SCF_UNCONVERGED, f"free moments not relaxed: |dE/dm| {residual:.2g} eV/muB")
            if self.kind is LabelKind.CONSTRAINED:
                magnetic_forces = np.where(free[:, None], np.nan, p.magnetic_forces)
        return Label(
            frame.frame_id,
            level_of_theory,
            frame.orientation,
            energy=float(p.energy[0]),
            forces=p.forces,
            stress=p.stress[0],
            magmoms=moments,
            magnetic_forces=magnetic_forces,
            cost=cost(),
        )

    @staticmethod
    def _draw(frame: Frame) -> float:
        """A number in [0, 1) fixed by the frame."""
        return int(digest([frame.frame_id.encode(), b"failure"], 8), 16) / 16**8

    def _moments(self, model: SpinLatticeModel, frame: Frame) -> tuple[FloatArray | None, BoolArray]:
        """Moments the label is computed at, and which of them were free."""
        n = len(frame)
        if self.kind is LabelKind.NON_MAGNETIC or frame.magmoms is None:
            return None, np.zeros(n, bool)
        free = ~held_atoms(frame) if self.kind is LabelKind.CONSTRAINED else np.ones(n, bool)
        return relaxed(model, frame, free), free


def relaxed(model: SpinLatticeModel, frame: Frame, free: BoolArray) -> FloatArray:
    """(N, 3) moments with those of the `free` (N,) atoms at the energy minimum reached from the frame's, muB."""
    if frame.magmoms is None:
        raise InputError("a frame without moments has none to relax")
    moments = frame.magmoms.copy()
    if not free.any():
        return moments
    from scipy.optimize import minimize

    def evaluate(x: FloatArray) -> tuple[float, FloatArray]:
        moments[free] = x.reshape(-1, 3)
        p = model.predict([frame.replace(magmoms=moments)])
        return float(p.energy[0]), -np.asarray(p.magnetic_forces)[free].ravel()

    result = minimize(
        evaluate,
        moments[free].ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 500, "ftol": 0.0, "gtol": 0.1 * MOMENT_TOLERANCE},
    )
    moments[free] = result.x.reshape(-1, 3)
    return moments
