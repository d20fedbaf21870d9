"""The ABINIT label engine: its settings, its level of theory, and one label from start to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LabelKind, LevelOfTheory
from magflow.core.moments import is_collinear
from magflow.core.protocols import Probe
from magflow.core.types import BoolArray
from magflow.core.units import BOHR
from magflow.dft.abinit import probing
from magflow.dft.abinit.datasets import (
    MissingDatasetError,
    MixedFunctionalsError,
    PawDataset,
    find_datasets,
    unpacked,
)
from magflow.dft.abinit.inputs import InputText, band_count
from magflow.dft.abinit.ladder import Calculation, expected_bottom, rungs
from magflow.dft.abinit.run import Launcher
from magflow.dft.kpoints import Mesh, Spacing, kpoint_mesh, kpoint_parameters
from magflow.dft.levels import check_level
from magflow.dft.spheres import largest_overlap
from magflow.errors import InputError
from magflow.settings import MagflowSettings, load_settings


class AbinitEngine(BaseModel):
    """Labels from ABINIT.

    ``constrained`` labels hold the moment of each constrained atom, integrated in a sphere, at its target by a
    hard (Lagrange) constraint, collinear along z (Gonze et al., J. Chem. Phys. 156, 2022: constrained DFT in
    ABINIT; input variable ``constraint_kind`` 1). ``spin-polarised`` labels start from the frame's moments and
    let them relax. ``non-magnetic`` labels ignore them (nsppol 1). All three use the same settings.

    A fixed k-point mesh (the default) makes the energy one smooth function of the cell, at an error of some
    25 meV for 4x4x4 on a 2-atom cell: right for tests, examples and method studies. For production give a
    spacing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str] = "abinit"

    kind: LabelKind = Field(LabelKind.CONSTRAINED, description="constrained, spin-polarised or non-magnetic.")
    functional: Literal["PBE", "LDA", "revPBE", "RPBE"] = Field(
        "PBE", description="Exchange-correlation functional; every dataset must have been made for it."
    )
    datasets: dict[str, Path] = Field(
        default_factory=dict,
        description="Element to PAW XML file (plain or .gz). Elements not named come from the folders in "
        "dataset_dirs of ~/.magflow.yaml (by default those of the package gpaw-data).",
    )
    ecut_ha: PositiveFloat = Field(10.0, description="Plane-wave cutoff, hartree.")
    pawecutdg_ha: PositiveFloat = Field(20.0, description="Cutoff of the PAW double grid, hartree.")
    kpoints: Mesh | Spacing = Field(
        (4, 4, 4),
        description="A fixed mesh [n1, n2, n3], the same for every cell; or the largest k-point spacing in 1/A "
        "(2 pi included, at most 1) for production.",
    )
    shift: tuple[float, float, float] = Field((0.0, 0.0, 0.0), description="Shift of the mesh; zeros: Gamma-centred.")
    tsmear_ha: PositiveFloat = Field(
        0.01, description="Fermi-Dirac smearing, hartree; 0.02 and more changes the magnetism of iron."
    )
    tolvrs: PositiveFloat = Field(1e-8, description="SCF criterion: squared residual of the potential.")
    ratsph_bohr: PositiveFloat | dict[str, PositiveFloat] = Field(
        2.2, description="Radius of the spheres the moments are integrated in, bohr; one for all or one per element."
    )
    ratsm_bohr: PositiveFloat = Field(0.05, description="Smearing of the sphere's edge, bohr.")
    bands_per_electron: Annotated[float, Field(ge=0.75, le=4.0)] = Field(
        1.0, description="Bands per spin over valence electrons; 1.0 leaves half of them empty."
    )
    moment_tolerance_mub: PositiveFloat = Field(
        1e-3, description="A label whose moment misses its target by more (muB) has failed."
    )
    overlap_limit: Annotated[float, Field(ge=0.0, le=0.3)] = Field(
        0.05, description="Largest share of a sphere's volume that another may cover; ABINIT's own limit is 0.05."
    )
    magcon_lambda: PositiveFloat = Field(0.2, description="Pace of the constraint: convergence only, no physics.")
    nstep: PositiveInt = Field(
        60, description="SCF steps of the first attempt; some 20 are usual, and later attempts get more."
    )
    attempts: Annotated[int, Field(ge=1, le=5)] = Field(
        3,
        description="Attempts at an SCF cycle that does not converge: smaller magcon_lambda, more steps, restart. One "
        "that fell into a ghost state of a dataset is repeated once with damped mixing besides.",
    )
    time_limit_s: PositiveFloat | None = Field(3600.0, description="Wall seconds for one label, all attempts together.")
    cores: PositiveInt = Field(1, description="MPI ranks of one label.")
    command: str | None = Field(
        None, min_length=1, description="ABINIT executable; None: abinit_command of ~/.magflow.yaml."
    )
    keep_files: bool = Field(False, description="Keep every file of a run instead of input and main output only.")

    # ---- level of theory -------------------------------------------------------------------------------------

    def level_of_theory(self, elements: Sequence[str]) -> LevelOfTheory:
        """See :class:`magflow.core.protocols.LabelEngine`."""
        settings = load_settings()
        version = self.launcher(settings).version()
        datasets = self.find_datasets(elements, settings)
        self.check_radii(datasets)
        return LevelOfTheory(
            "abinit",
            version,
            self.kind,
            self.functional,
            {element: dataset.md5 for element, dataset in datasets.items()},
            self._parameters(sorted(datasets)),
        )

    def _parameters(self, elements: Sequence[str]) -> dict[str, Any]:
        """What must match for two labels to compare; magcon_lambda, nstep and the like stay out."""
        parameters: dict[str, Any] = {
            "ecut_ha": self.ecut_ha,
            "pawecutdg_ha": self.pawecutdg_ha,
            **kpoint_parameters(self.kpoints),
            "kpoint_shift": list(self.shift),
            "smearing": "fermi-dirac",
            "tsmear_ha": self.tsmear_ha,
            "tolvrs": self.tolvrs,
            "bands_per_electron": self.bands_per_electron,
            "nsym": 1,
        }
        if self.kind != LabelKind.NON_MAGNETIC:
            parameters["ratsph_bohr"] = {e: self.radius_bohr(e) for e in elements}
            parameters["ratsm_bohr"] = self.ratsm_bohr
        return parameters

    def radius_bohr(self, element: str) -> float:
        """Sphere radius of `element`, bohr."""
        if not isinstance(self.ratsph_bohr, dict):
            return self.ratsph_bohr
        if element not in self.ratsph_bohr:
            raise InputError(
                f"no sphere radius for {element}", where="ratsph_bohr", seen=", ".join(self.ratsph_bohr) or "nothing"
            )
        return self.ratsph_bohr[element]

    def check_radii(self, datasets: Mapping[str, PawDataset]) -> None:
        """ABINIT refuses spheres smaller than the augmentation spheres; say so before the first label."""
        if self.kind == LabelKind.NON_MAGNETIC:
            return
        for element, dataset in datasets.items():
            if self.radius_bohr(element) < dataset.radius_bohr - 1e-9:
                raise InputError(
                    f"the moment sphere of {element} is smaller than its PAW sphere",
                    where="ratsph_bohr",
                    seen=self.radius_bohr(element),
                    expected=f"at least {dataset.radius_bohr:g} bohr",
                    hint=f"set ratsph_bohr: {{{element}: {dataset.radius_bohr:g}, ...}}",
                )

    def find_datasets(self, elements: Sequence[str], settings: MagflowSettings) -> dict[str, PawDataset]:
        """The PAW dataset of each element, alphabetical."""
        return find_datasets(sorted(set(elements)), self.functional, settings.expanded_dataset_dirs(), self.datasets)

    def launcher(self, settings: MagflowSettings) -> Launcher:
        """How ABINIT is started."""
        return Launcher(self.command or settings.abinit_command, settings.mpirun_command, self.cores)

    def probe(self, elements: Sequence[str]) -> list[Probe]:
        """See :class:`magflow.core.protocols.LabelEngine`."""
        return probing.probe(self, elements)

    # ---- one label -------------------------------------------------------------------------------------------

    def label(self, frame: Frame, level_of_theory: LevelOfTheory, workdir: Path) -> Label:
        """See :class:`magflow.core.protocols.LabelEngine`.

        It is the orientation shared by M and -M that is computed: ABINIT 9.6.2 gives the two energies that differ
        by 0.02 (FeAl) to 0.08 meV (Fe), however tight the SCF criterion, and a label must not depend on which of
        the two came first.
        """
        if frame.orientation < 0 and frame.magmoms is not None:
            return self._label(frame.replace(magmoms=-frame.magmoms), level_of_theory, workdir).for_frame(frame)
        return self._label(frame, level_of_theory, workdir)

    def _label(self, frame: Frame, level_of_theory: LevelOfTheory, workdir: Path) -> Label:
        settings = load_settings()
        foreign = sorted(set(frame.species) - set(level_of_theory.datasets))
        if foreign:
            message = f"the level of theory has no dataset for {', '.join(foreign)}"
            return Label.failed(frame, level_of_theory, FailureKind.MISSING_DATASET, message)
        try:
            check_level(self.level_of_theory(sorted(level_of_theory.datasets)), level_of_theory)
            datasets = self.find_datasets(frame.species, settings)
        except MixedFunctionalsError as error:
            return Label.failed(frame, level_of_theory, FailureKind.MIXED_FUNCTIONALS, str(error))
        except MissingDatasetError as error:
            return Label.failed(frame, level_of_theory, FailureKind.MISSING_DATASET, str(error))
        problem = self._unfit(frame)
        if problem is not None:
            return Label.failed(frame, level_of_theory, *problem)
        cache = settings.cache_dir.expanduser()
        return Calculation(
            frame=frame,
            level_of_theory=level_of_theory,
            held=self.held(frame),
            polarised=self.kind != LabelKind.NON_MAGNETIC,
            write=lambda changes: self.input_text(frame, datasets, changes),
            rungs=rungs(self.attempts, self.magcon_lambda, self.nstep),
            links={f"{element}.xml": unpacked(dataset, cache) for element, dataset in datasets.items()},
            bottom=expected_bottom(datasets.values()),
            launcher=self.launcher(settings),
            scratch=settings.scratch_dir.expanduser() if settings.scratch_dir else None,
            time_limit_s=self.time_limit_s,
            moment_tolerance_mub=self.moment_tolerance_mub,
            keep_files=self.keep_files,
        ).run(workdir)

    def held(self, frame: Frame) -> BoolArray:
        """(N,) which atoms are held at their moment."""
        if self.kind != LabelKind.CONSTRAINED:
            return np.zeros(len(frame), bool)
        return np.ones(len(frame), bool) if frame.constrained is None else frame.constrained

    def _unfit(self, frame: Frame) -> tuple[FailureKind, str] | None:
        """Why `frame` cannot be computed; None if it can."""
        if self.kind == LabelKind.NON_MAGNETIC:
            return None
        if frame.magmoms is None:
            return FailureKind.INVALID_INPUT, f"a {self.kind} label needs moments and the frame has none"
        if not is_collinear(frame.magmoms):
            return FailureKind.INVALID_INPUT, "moments are not collinear along z; constraints do not converge there"
        radii = np.array([self.radius_bohr(e) for e in frame.species]) * BOHR
        share, i, j, distance = largest_overlap(frame, radii)
        if self.kind == LabelKind.CONSTRAINED and share > self.overlap_limit:
            return FailureKind.OVERLAPPING_SPHERES, (
                f"the spheres of atoms {i + 1} and {j + 1} ({frame.species[i]}, {frame.species[j]}, {distance:.3f} A "
                f"apart) share {100 * share:.1f} % of their volume; the limit is {100 * self.overlap_limit:.1f} %"
            )
        return None

    def input_text(self, frame: Frame, datasets: Mapping[str, PawDataset], changes: Mapping[str, Any]) -> str:
        """The ABINIT input of `frame`; `changes` replace or add variables."""
        held = self.held(frame)
        polarised = self.kind != LabelKind.NON_MAGNETIC
        variables: dict[str, Any] = {
            "ecut": self.ecut_ha,
            "pawecutdg": self.pawecutdg_ha,
            "pawovlp": 100.0 * self.overlap_limit,
            "shiftk": self.shift,
            "occopt": 3,
            "tsmear": self.tsmear_ha,
            "nsym": 1,  # with symmetry on, equivalent atoms off the FFT grid never converge (rc 0, wrong dE/dm)
            "chkprim": 0,
            "chksymtnons": 0,  # the default refuses general positions
            # Constraints: the PAW default 17 is refused; 2, 3 and 4 do not converge. Without: 17 takes half the
            # steps of 7 and finds the same energy to 1e-8 eV.
            "iscf": 7 if held.any() else 17,
            "tolvrs": self.tolvrs,
            "optforces": 1,
            "optstress": 1,
            "prtwf": 0,
            "prteig": 0,
            "prtebands": 0,
        }
        valence = {e: d.valence for e, d in datasets.items()}
        return InputText(
            datasets={e: f"{e}.xml" for e in datasets},
            ratsph_bohr={e: self.radius_bohr(e) for e in datasets} if polarised else {},
            ratsm_bohr=self.ratsm_bohr,
            held=tuple(bool(h) for h in held),
            ngkpt=kpoint_mesh(frame.cell, self.kpoints),
            nband=band_count(frame.species, valence, self.bands_per_electron),
            variables=variables | dict(changes),
        ).render(frame)
