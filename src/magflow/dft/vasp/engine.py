"""The VASP label engine: its settings, its level of theory, and one label from start to end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LabelKind, LevelOfTheory
from magflow.core.protocols import Probe
from magflow.dft.kpoints import kpoint_parameters
from magflow.dft.levels import check_level
from magflow.dft.mpi import mpi_command
from magflow.dft.spheres import largest_overlap
from magflow.dft.vasp import probing
from magflow.dft.vasp.calculation import Calculation, Tolerances
from magflow.dft.vasp.incar import noncollinear
from magflow.dft.vasp.potcars import MissingPotcarError, WrongPotcarError, find_potcars, sphere_radii
from magflow.dft.vasp.settings import Penalty, VaspSettings, constraint_parameters
from magflow.errors import MissingToolError
from magflow.settings import MagflowSettings, load_settings

_ZERO = 1e-8
"""muB; VASP takes a target of zero for no target."""


class VaspEngine(VaspSettings):
    """Labels from VASP.

    ``constrained`` labels hold the moments of the weighted spheres (MW_int), by a penalty or, in VASP with the
    DeltaSpin patch, by Lagrange multipliers, without spin-orbit coupling. ``spin-polarised`` labels start from the
    frame's moments and let them relax. ``non-magnetic`` labels ignore them. All three use the same settings.
    """

    name: ClassVar[str] = "vasp"

    moment_tolerance_mub: PositiveFloat = Field(
        0.05, description="A label whose moment misses its target by more (muB) has failed; a penalty always misses."
    )
    consistency_tolerance_ev: PositiveFloat = Field(
        5e-3,
        description="Disagreement of energies and magnetic forces between the last two steps of a ladder that is "
        "tolerated, eV; a quarter of the energy change always is.",
    )
    magnetic_force_tolerance_ev: PositiveFloat = Field(
        0.05,
        description="A magnetic force that the digits VASP prints leave less certain than this (eV/muB) is no part "
        "of the label.",
    )
    overlap_limit: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.1, description="Largest share of a constraint sphere's volume that another may cover."
    )
    time_limit_s: PositiveFloat | None = Field(
        24 * 3600.0, description="Wall seconds for one label, all runs together."
    )
    cores: PositiveInt = Field(1, description="MPI ranks of one label.")
    command: str | None = Field(
        None,
        min_length=1,
        description="VASP executable; None: vasp_command, or vasp_ncl_command where moments are vectors or held, of "
        "~/.magflow.yaml.",
    )
    keep_files: bool = Field(False, description="Keep every file of a run but POTCAR, instead of input and log only.")

    def level_of_theory(self, elements: Sequence[str]) -> LevelOfTheory:
        """See :class:`magflow.core.protocols.LabelEngine`."""
        for program in self.programs(load_settings()):
            if which(program.split()[0]) is None:
                raise MissingToolError("VASP is not installed", seen=program, hint=probing.COMMAND_HINT)
        potcars = find_potcars(self, elements)
        return LevelOfTheory(
            "vasp",
            self.version,
            self.kind,
            self.functional,
            {element: potcar.md5 for element, potcar in potcars.items()},
            self._parameters(sorted(potcars)),
        )

    def _parameters(self, elements: Sequence[str]) -> dict[str, Any]:
        """What must match for two labels to compare; `nelm`, `incar_running` and the like stay out."""
        parameters: dict[str, Any] = {
            "potcars": {e: f"{self.potcar_functional}/{self.potcar_symbol(e)}" for e in elements},
            "encut_ev": self.encut_ev,
            **kpoint_parameters(self.kpoints),
            "smearing": self.smearing,
            "sigma_ev": self.sigma_ev,
            "ediff_ev": self.ediff_ev,
            "hubbard": {e: self.hubbard[e].model_dump() for e in elements if e in self.hubbard},
            "incar": dict(sorted(self.incar.items())),
        }
        if self.constrained:
            parameters["rwigs_a"] = sphere_radii(self, elements)
            parameters["constraint"] = dict(constraint_parameters(self))
        if self.kind != LabelKind.NON_MAGNETIC:
            parameters["moments"] = "MW_int" if self.constrained else "LORBIT 11"
        return parameters

    def programs(self, settings: MagflowSettings) -> list[str]:
        """The executables labels of this kind may need."""
        if self.command is not None:
            return [self.command]
        return [settings.vasp_ncl_command if self.constrained else settings.vasp_command]

    def probe(self, elements: Sequence[str]) -> list[Probe]:
        """See :class:`magflow.core.protocols.LabelEngine`."""
        return probing.probe(self, elements)

    def label(self, frame: Frame, level_of_theory: LevelOfTheory, workdir: Path) -> Label:
        """See :class:`magflow.core.protocols.LabelEngine`.

        It is the orientation shared by M and -M that is computed, so that a label does not depend on which of the
        two came first.
        """
        if frame.orientation < 0 and frame.magmoms is not None:
            return self._label(frame.replace(magmoms=-frame.magmoms), level_of_theory, workdir).for_frame(frame)
        return self._label(frame, level_of_theory, workdir)

    def _label(self, frame: Frame, level_of_theory: LevelOfTheory, workdir: Path) -> Label:
        settings = load_settings()
        foreign = sorted(set(frame.species) - set(level_of_theory.datasets))
        if foreign:
            message = f"the level of theory has no POTCAR for {', '.join(foreign)}"
            return Label.failed(frame, level_of_theory, FailureKind.MISSING_DATASET, message)
        try:
            check_level(self.level_of_theory(sorted(level_of_theory.datasets)), level_of_theory)
            potcars = find_potcars(self, frame.species)
        except MissingPotcarError as error:
            return Label.failed(frame, level_of_theory, FailureKind.MISSING_DATASET, str(error))
        except WrongPotcarError as error:
            return Label.failed(frame, level_of_theory, FailureKind.MIXED_FUNCTIONALS, str(error))
        problem = self._unfit(frame)
        if problem is not None:
            return Label.failed(frame, level_of_theory, *problem)
        default = settings.vasp_ncl_command if noncollinear(self, frame) else settings.vasp_command
        return Calculation(
            settings=VaspSettings(**self.model_dump(include=set(VaspSettings.model_fields))),
            frame=frame,
            level_of_theory=level_of_theory,
            titles={element: potcar.title for element, potcar in potcars.items()},
            command=mpi_command(self.command or default, settings.mpirun_command, self.cores),
            cores=self.cores,
            tolerances=Tolerances(
                self.moment_tolerance_mub, self.consistency_tolerance_ev, self.magnetic_force_tolerance_ev
            ),
            scratch=settings.scratch_dir.expanduser() if settings.scratch_dir else None,
            time_limit_s=self.time_limit_s,
            keep_files=self.keep_files,
        ).run(workdir)

    def _unfit(self, frame: Frame) -> tuple[FailureKind, str] | None:
        """Why `frame` cannot be computed; None if it can."""
        if self.kind == LabelKind.NON_MAGNETIC:
            return None
        if frame.magmoms is None:
            return FailureKind.INVALID_INPUT, f"a {self.kind} label needs moments and the frame has none"
        if not self.constrained:
            return None
        held = np.ones(len(frame), bool) if frame.constrained is None else frame.constrained
        zero = np.flatnonzero(held & (np.linalg.norm(frame.magmoms, axis=1) < _ZERO))
        if len(zero) and isinstance(self.constraint, Penalty):
            return FailureKind.INVALID_INPUT, (
                f"atom {zero[0] + 1} is held at zero, and to VASP M_CONSTR = 0 0 0 is no constraint; leave it free or "
                "use constraint: {method: deltaspin}"
            )
        by_element = sphere_radii(self, frame.species)
        share, i, j, distance = largest_overlap(frame, np.array([by_element[e] for e in frame.species]))
        if share > self.overlap_limit:
            return FailureKind.OVERLAPPING_SPHERES, (
                f"the spheres of atoms {i + 1} and {j + 1} ({frame.species[i]}, {frame.species[j]}, {distance:.3f} A "
                f"apart) share {100 * share:.1f} % of their volume; the limit is {100 * self.overlap_limit:.1f} %"
            )
        return None
