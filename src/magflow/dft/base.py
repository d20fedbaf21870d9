"""The engine of a DFT code, as far as it does not depend on the code.

A code brings its settings, its datasets and the writer and reader of its files (:mod:`magflow.dft.calculation`); which
of M and -M is computed, what is checked before anything runs, and what becomes a failed label is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Failure, FailureKind, Label, LevelOfTheory
from magflow.core.protocols import Doubt, Probe
from magflow.dft.calculation import Calculation
from magflow.dft.datasets import MissingDatasetError, MixedFunctionalsError
from magflow.dft.frames import lacks_moments
from magflow.dft.kpoints import misfit, uneven_mesh
from magflow.dft.levels import check_level
from magflow.dft.probing import on_path
from magflow.dft.settings import CodeSettings
from magflow.dft.spheres import largest_overlap
from magflow.errors import MagflowError
from magflow.settings import MagflowSettings, load_settings


class CodeEngine(CodeSettings, ABC):
    """A :class:`~magflow.core.protocols.LabelEngine` that runs a DFT code.

    An engine inherits from its settings and from this class, in this order.
    """

    name: ClassVar[str]
    dataset_noun: ClassVar[str] = "dataset"
    """What the code calls the file it needs for each element."""

    # ---- what a code fills in --------------------------------------------------------------------------------

    @abstractmethod
    def code_version(self, installation: MagflowSettings) -> str:
        """Version of the code. Raises MissingToolError if it is not installed."""

    @abstractmethod
    def checksums(self, elements: Sequence[str], installation: MagflowSettings) -> dict[str, str]:
        """Element to md5 of its dataset, alphabetical.

        Raises
        ------
        MissingDatasetError, MixedFunctionalsError
            If there is none, or not one that fits the others.
        """

    @abstractmethod
    def parameters(self, elements: Sequence[str]) -> dict[str, Any]:
        """What else must match for two labels to compare; what only helps convergence stays out."""

    @abstractmethod
    def sphere_radii(self, elements: Sequence[str]) -> Mapping[str, float]:
        """Element to the radius of the sphere its moment is held in, A."""

    @abstractmethod
    def calculation(
        self, frame: Frame, level_of_theory: LevelOfTheory, installation: MagflowSettings
    ) -> Calculation[Any, Any]:
        """The calculation of `frame`, whose datasets are there and whose moments can be held."""

    @abstractmethod
    def probe_code(self, installation: MagflowSettings) -> list[Probe]:
        """Programs, folders and packages; never raises."""

    @abstractmethod
    def probe_dataset(self, element: str, installation: MagflowSettings) -> Probe:
        """The dataset of one element; never raises."""

    def refusal(self, frame: Frame) -> str | None:
        """See :class:`magflow.core.protocols.RefusesFrames`; a code that refuses more asks here as well."""
        if self.polarised and (lacking := lacks_moments(frame, self.kind)):
            return lacking
        kpoints = getattr(self, "kpoints", None)
        return None if kpoints is None else misfit(frame, kpoints)

    # ---- what follows ----------------------------------------------------------------------------------------

    def level_of_theory(self, elements: Sequence[str]) -> LevelOfTheory:
        """See :class:`magflow.core.protocols.LabelEngine`."""
        installation = load_settings()
        version = self.code_version(installation)
        checksums = self.checksums(elements, installation)
        return LevelOfTheory(
            self.name, version, self.kind, self.functional, checksums, self.parameters(sorted(checksums))
        )

    def probe(self, elements: Sequence[str]) -> list[Probe]:
        """See :class:`magflow.core.protocols.LabelEngine`."""
        try:
            installation = load_settings()
        except MagflowError as error:
            return [Probe("settings", False, str(error), error.hint or "")]
        found = self.probe_code(installation)
        if self.cores > 1:
            found.append(on_path("mpirun", installation.mpirun_command, "install an MPI"))
        return found + [self.probe_dataset(element, installation) for element in sorted(set(elements))]

    def doubts(self, frames: Sequence[Frame]) -> list[Doubt]:
        """See :class:`magflow.core.protocols.HasDoubts`."""
        kpoints = getattr(self, "kpoints", None)
        return self.setting_doubts() + (uneven_mesh(kpoints, frames) if isinstance(kpoints, tuple) else [])

    def setting_doubts(self) -> list[Doubt]:
        """About settings whose unit may have been mistaken."""
        return []

    def label(self, frame: Frame, level_of_theory: LevelOfTheory, workdir: Path) -> Label:
        """See :class:`magflow.core.protocols.LabelEngine`.

        It is the orientation shared by M and -M that is computed: a code gives the two energies that differ (ABINIT
        9.6.2 by 0.02 meV for FeAl and 0.08 meV for Fe, however tight the SCF criterion), and a label must not depend
        on which of the two came first.
        """
        if frame.orientation < 0 and frame.magmoms is not None:
            return self._label(frame.replace(magmoms=-frame.magmoms), level_of_theory, workdir).for_frame(frame)
        return self._label(frame, level_of_theory, workdir)

    def _label(self, frame: Frame, level_of_theory: LevelOfTheory, workdir: Path) -> Label:
        ready = self._prepared(frame, level_of_theory)
        if isinstance(ready, Failure):
            return Label.failed(frame, level_of_theory, ready.kind, ready.message)
        return ready.run(workdir)

    def _prepared(self, frame: Frame, level_of_theory: LevelOfTheory) -> Calculation[Any, Any] | Failure:
        """The calculation, if this is the level of theory that was asked for and `frame` can be computed at it."""
        foreign = ", ".join(sorted(set(frame.species) - set(level_of_theory.datasets)))
        if foreign:
            message = f"the level of theory has no {self.dataset_noun} for {foreign}"
            return Failure(FailureKind.MISSING_DATASET, message)
        try:
            check_level(self.level_of_theory(sorted(level_of_theory.datasets)), level_of_theory)
            return self._unfit(frame) or self.calculation(frame, level_of_theory, load_settings())
        except MissingDatasetError as error:
            return Failure(FailureKind.MISSING_DATASET, str(error))
        except MixedFunctionalsError as error:
            return Failure(FailureKind.MIXED_FUNCTIONALS, str(error))

    def _unfit(self, frame: Frame) -> Failure | None:
        """Why `frame` cannot be computed; None if it can."""
        message = self.refusal(frame)
        if message is not None:
            return Failure(FailureKind.INVALID_INPUT, message)
        return self._overlap(frame) if self.constrained else None

    def _overlap(self, frame: Frame) -> Failure | None:
        by_element = self.sphere_radii(frame.species)
        share, i, j, distance = largest_overlap(frame, np.array([by_element[e] for e in frame.species]))
        if share <= self.overlap_limit:
            return None
        return Failure(
            FailureKind.OVERLAPPING_SPHERES,
            f"the spheres of atoms {i + 1} and {j + 1} ({frame.species[i]}, {frame.species[j]}, {distance:.3f} A "
            f"apart) share {100 * share:.1f} % of their volume; the limit is {100 * self.overlap_limit:.1f} %",
        )
