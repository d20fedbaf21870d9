"""K potentials of one family: mean, calibrated deviation, and their directory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator
from numpy.typing import ArrayLike

from magflow.core import plugins
from magflow.core.arrays import DAMAGE, digest
from magflow.core.calibration import Calibration
from magflow.core.dynamics import Motion
from magflow.core.files import replace_file
from magflow.core.frame import Frame
from magflow.core.hessian import GivesHessian, IsRough
from magflow.core.label import LabeledFrame
from magflow.core.moments import GivenMoments
from magflow.core.notebook import facts_html
from magflow.core.prediction import EnsemblePrediction, Prediction, concatenate
from magflow.core.protocols import (
    GradesGeometry,
    KnowsAtomicEnergies,
    KnowsMoments,
    KnowsStressOffset,
    MovesAlone,
    MovesTogether,
    Potential,
    PredictsTogether,
    Propagator,
    SharesGeometry,
    SupportsGrades,
    TellsMagnetic,
)
from magflow.core.quantities import scales_of_old
from magflow.core.types import FloatArray
from magflow.core.uncertainty import TellsDeviations, Uncertainty, root_mean_square
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.io.records import located
from magflow.potentials.calculator import FrameCalculator

MANIFEST = "ensemble.json"


def _error_models(manifest: dict[str, Any]) -> dict[str, Any]:
    calibration = scales_of_old(manifest["calibration"])
    return {**manifest, "calibration": calibration, "uncertainty": str(Uncertainty.ENSEMBLE)}


FORMAT = Mark("ensemble", "magflow-ensemble", (dict, _error_models))
"""2: files of members are named by their content. 3: a calibration is more than a factor; deviations have a source."""
CHUNK = 4096
"""Frames whose neighbour lists are held at once."""
_MEMBER = re.compile(r"member_\d{2,}(?:-(?P<digest>[0-9a-f]{24}))?\.bin")


@dataclass(frozen=True, eq=False)
class PotentialEnsemble:
    """Potentials of one family that differ by seed and sample.

    Parameters
    ----------
    members
        At least one; all know the same species.
    family_name
        Entry point of the family, for :meth:`load`.
    calibration
        What errors to expect for the deviations of the members.
    uncertainty
        What deviations are made of.
    metadata
        JSON-ready: settings of the family, level of theory, and what else should travel along.

    Raises
    ------
    InputError
        No members, or members of different species.

    Examples
    --------
    >>> import magflow
    >>> potential = magflow.load("potential")  # doctest: +SKIP
    >>> potential  # doctest: +SKIP
    <PotentialEnsemble of 5 mmtp: Al, Fe; cutoff 5 A>
    >>> said = potential.predict([frame])  # doctest: +SKIP
    >>> said.mean.energy, said.deviation.energy  # doctest: +SKIP
    >>> atoms.calc = potential.calculator()  # doctest: +SKIP
    """

    members: tuple[Potential, ...]
    family_name: str
    calibration: Calibration = field(default_factory=Calibration)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    uncertainty: Uncertainty = Uncertainty.ENSEMBLE

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        object.__setattr__(self, "metadata", dict(self.metadata or {}))
        if not self.members:
            raise InputError("an ensemble needs members")
        if len({m.species for m in self.members}) > 1:
            raise InputError("members know different species", seen=sorted({m.species for m in self.members}))

    def __repr__(self) -> str:
        known = f"{', '.join(self.species)}; cutoff {self.cutoff:g} A"
        return f"<PotentialEnsemble of {len(self.members)} {self.family_name}: {known}>"

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {
            "members": len(self.members),
            "elements": ", ".join(self.species),
            "cutoff": f"{self.cutoff:g} A",
            "reads moments": "yes" if self.magnetic else "no",
            "largest moments": ", ".join(f"{e} {m:.3g} muB" for e, m in self.max_moment.items()),
            "calibration": ", ".join(
                f"{q.replace('_', ' ')} {m.scale:.3g}" for q, m in self.calibration.models.items()
            ),
        }
        return facts_html(f"PotentialEnsemble, {self.family_name}", facts)

    @property
    def species(self) -> tuple[str, ...]:
        """Elements the members know."""
        return self.members[0].species

    @cached_property
    def identity(self) -> str:
        """24 hex digits of all that its members are."""
        return digest([member.to_bytes() for member in self.members])

    @property
    def cutoff(self) -> float:
        """Largest cutoff of the members, A."""
        return max(m.cutoff for m in self.members)

    @property
    def magnetic(self) -> bool:
        """Whether a member reads moments."""
        return any(not isinstance(m, TellsMagnetic) or m.magnetic for m in self.members)

    def _sharing(self) -> list[SharesGeometry]:
        """The members, if one's neighbour lists serve them all; else none."""
        able: list[SharesGeometry] = [m for m in self.members if isinstance(m, SharesGeometry)]
        together = len(able) == len(self.members) and all(able[0].shares_geometry(m) for m in self.members)
        return able if together else []

    def dynamics(self, motions: Sequence[Motion]) -> Propagator | None:
        """Molecular dynamics on the mean, if the family can move the members together; None otherwise."""
        first = self.members[0]
        if self.uncertainty is not Uncertainty.ENSEMBLE:
            if not isinstance(first, MovesAlone) or len(self.members) > 1:
                return None
            return first.dynamics_alone(motions, self.calibration)
        if not isinstance(first, MovesTogether) or not self._sharing():
            return None
        return first.dynamics_with(self.members, motions, self.calibration)

    def member_predictions(self, frames: Sequence[Frame]) -> list[Prediction]:
        """One prediction per member; members that can share neighbour lists do."""
        sharing = self._sharing()
        if not sharing:
            return [m.predict(frames) for m in self.members]
        if isinstance(sharing[0], PredictsTogether):
            return sharing[0].predict_with(sharing, frames)
        parts: list[list[Prediction]] = [[] for _ in sharing]
        for at in range(0, max(len(frames), 1), CHUNK):
            geometry = sharing[0].geometry(frames[at : at + CHUNK])
            for part, member in zip(parts, sharing, strict=True):
                part.append(member.predict_geometry(geometry))
        return [concatenate(p) if len(p) > 1 else p[0] for p in parts]

    def predict(self, frames: Sequence[Frame]) -> EnsemblePrediction:
        """Mean, and calibrated deviation, of every quantity.

        Raises
        ------
        InputError
            If the deviation is to be told by fits that do not know it.
        """
        raw = EnsemblePrediction.from_members(self.member_predictions(frames))
        if self.uncertainty is not Uncertainty.ENSEMBLE:
            undecided = root_mean_square([m.deviations(frames) for m in self._telling()])
            of_both = self.uncertainty is Uncertainty.BOTH
            raw = replace(raw, deviation=root_mean_square([undecided, raw.deviation]) if of_both else undecided)
        return self.calibration.expected(raw, frames)

    def _telling(self) -> list[TellsDeviations]:
        telling: list[TellsDeviations] = [m for m in self.members if isinstance(m, TellsDeviations)]
        if len(telling) < len(self.members):
            raise InputError(f"potentials of family {self.family_name} do not know what their labels left undecided")
        return telling

    def label_stress_offset(self, frames: Sequence[Frame]) -> FloatArray:
        """(n, 6) eV/A^3 to add to the predicted stress before it is compared with labelled stresses.

        Mean over the members of what their fits found (the Pulay stress of a fixed plane-wave cutoff); zero for a
        family that does not tell them apart.
        """
        offsets = [m.label_stress_offset(frames) for m in self.members if isinstance(m, KnowsStressOffset)]
        return np.mean(offsets, axis=0) if offsets else np.zeros((len(frames), 6))

    def descriptors(self, frames: Sequence[Frame]) -> FloatArray:
        """(n, d) descriptors of the first member: all members see the same frames, one frame of reference is enough.

        Raises
        ------
        InputError
            If the family has no descriptors.
        """
        return self._graded("descriptors")[0].descriptors(frames)

    def grades(self, frames: Sequence[Frame]) -> FloatArray:
        """(n,) mean over the members of the extrapolation grade.

        Raises
        ------
        InputError
            If the family has no grades.
        """
        members = self._graded("grades")
        able = [m for m in self._sharing() if isinstance(m, GradesGeometry)]
        if len(able) < len(members):
            return np.asarray(np.mean([m.grades(frames) for m in members], axis=0))
        grades = []
        for at in range(0, max(len(frames), 1), CHUNK):
            geometry = able[0].geometry(frames[at : at + CHUNK])
            grades.append(np.mean([m.grades_geometry(geometry) for m in able], axis=0))
        return np.concatenate(grades)

    def _graded(self, what: str) -> list[SupportsGrades]:
        graded: list[SupportsGrades] = [m for m in self.members if isinstance(m, SupportsGrades)]
        if len(graded) < len(self.members):
            raise InputError(f"potentials of family {self.family_name} have no {what}")
        return graded

    @property
    def max_moment(self) -> dict[str, float]:
        """Element to the largest |m| that all members which tell it know, muB."""
        found: dict[str, float] = {}
        for member in self.members:
            for element, most in member.max_moment.items() if isinstance(member, KnowsMoments) else ():
                found[element] = min(most, found.get(element, np.inf))
        return found

    def atomic_energies(self, frames: Sequence[Frame]) -> FloatArray:
        """(sum N,) eV, mean over the members of each atom's share.

        Raises
        ------
        InputError
            If the energy of the family is no sum over atoms.
        """
        able = [m for m in self.members if isinstance(m, KnowsAtomicEnergies)]
        if len(able) < len(self.members):
            raise InputError(f"potentials of family {self.family_name} have no energies of atoms")
        energies: FloatArray = np.mean([m.atomic_energies(frames) for m in able], axis=0)
        return energies

    @property
    def gives_hessian(self) -> bool:
        """Whether all members differentiate their energy twice."""
        return all(isinstance(m, GivesHessian) for m in self.members)

    @property
    def roughness(self) -> float:
        """A; see :class:`~magflow.core.hessian.IsRough`. 0 if no member is rough."""
        return max((m.roughness for m in self.members if isinstance(m, IsRough)), default=0.0)

    def twice_differentiable(self) -> list[GivesHessian]:
        """The members, as what gives their Hessians.

        Raises
        ------
        InputError
            If the family has no second derivatives.
        """
        able: list[GivesHessian] = [m for m in self.members if isinstance(m, GivesHessian)]
        if len(able) < len(self.members):
            raise InputError(f"potentials of family {self.family_name} have no second derivatives")
        return able

    def hessian_vector_product(self, frame: Frame, vectors: ArrayLike) -> FloatArray:
        """(k, N, 4) products with the Hessian of the mean energy; see :class:`~magflow.core.hessian.GivesHessian`.

        Raises
        ------
        InputError
            If the family has no second derivatives.
        """
        return np.asarray(
            np.mean([m.hessian_vector_product(frame, vectors) for m in self.twice_differentiable()], axis=0)
        )

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """ASE calculator of the mean; ``results["deviations"]`` holds the deviations.

        Parameters
        ----------
        moments
            muB, by element or of every atom; None: those of the atoms. Atoms without moments are refused where the
            members read them.
        """
        return FrameCalculator(self, moments=moments)

    def calibrated(self, calibration: Calibration) -> PotentialEnsemble:
        """The same members with another calibration."""
        return replace(self, calibration=calibration)

    def save(self, directory: Path | str) -> Path:
        """Write one file per member and ``ensemble.json``; returns the directory.

        A member's file is named by its content and ``ensemble.json`` is written last: whenever this is killed, the
        directory holds the ensemble it held before or this one, whole.

        Raises
        ------
        StoreError
            If the directory cannot be written.
        """
        directory = Path(directory)
        members = [member.to_bytes() for member in self.members]
        files = [f"member_{k:02d}-{digest([data])}.bin" for k, data in enumerate(members)]
        manifest = {
            **FORMAT.stamp,
            "family": self.family_name,
            "elements": list(self.species),
            "cutoff": self.cutoff,
            "calibration": self.calibration.as_dict(),
            "uncertainty": str(self.uncertainty),
            "members": files,
            "metadata": dict(self.metadata),
        }
        for name, data in zip(files, members, strict=True):
            replace_file(directory / name, data)
        replace_file(directory / MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
        for path in directory.glob("member_*.bin"):
            if path.name not in files and _MEMBER.fullmatch(path.name):
                path.unlink(missing_ok=True)  # of the ensemble before
        return directory

    @classmethod
    def load(cls, directory: Path | str) -> PotentialEnsemble:
        """Inverse of :meth:`save`.

        Raises
        ------
        InputError
            No ensemble there, a damaged manifest or member, an unknown family.
        """
        directory = Path(directory)
        manifest = _read_manifest(directory / MANIFEST)
        family = plugins.load(plugins.POTENTIAL_FAMILIES, manifest["family"])()
        members = []
        for name in manifest["members"]:
            with located(str(directory / str(name))):
                members.append(family.load(_read_member(directory, str(name))))
        try:
            calibration = Calibration.from_dict(manifest["calibration"])
            uncertainty = Uncertainty(manifest["uncertainty"])
        except DAMAGE as error:
            raise _damaged(directory / MANIFEST, str(error)) from error
        return cls(tuple(members), manifest["family"], calibration, manifest["metadata"], uncertainty)


def _read_member(directory: Path, name: str) -> bytes:
    found = _MEMBER.fullmatch(name)
    if found is None:
        raise InputError("not a member file", seen=name)
    try:
        data = (directory / name).read_bytes()
    except OSError as error:
        raise InputError("a member file cannot be read", seen=error.strerror) from error
    if found["digest"] not in (None, digest([data])):
        raise InputError("a member file is damaged", expected="the content that its name tells of")
    return data


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("no ensemble in this directory", where=str(path.parent), expected=MANIFEST) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    types = {"format": str, "family": str, "members": list, "calibration": dict, "metadata": dict}
    wrong = [k for k, t in types.items() if not isinstance(manifest, dict) or not isinstance(manifest.get(k), t)]
    if wrong:
        raise _damaged(path, f"bad {', '.join(wrong)}")
    try:
        return FORMAT.upgraded(manifest, str(path))
    except DAMAGE as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, seen: str) -> InputError:
    return InputError("the ensemble manifest is damaged", where=str(path), seen=seen)


def as_labelled(ensemble: PotentialEnsemble, items: Sequence[LabeledFrame]) -> EnsemblePrediction:
    """What the labels of `items` are expected to say: the raw prediction, its stress with what only labels carry.

    Stresses at a fixed plane-wave cutoff hold a Pulay term that the energy, and so the potential, has not.
    """
    frames = [item.configuration for item in items]
    prediction = ensemble.predict(frames)
    stress = prediction.mean.stress + ensemble.label_stress_offset(frames)
    return EnsemblePrediction(replace(prediction.mean, stress=stress), prediction.deviation)
