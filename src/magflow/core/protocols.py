"""The seams of the house: a new code or family implements one of these, in one file.

Label engines and potential families are pydantic models of their own settings, found through the
entry points ``magflow.label_engines`` and ``magflow.potential_families`` (:mod:`magflow.core.plugins`).
Their contracts are in :mod:`magflow.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from magflow.core.calibration import Calibration
from magflow.core.dynamics import Motion, Observation, Stop
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.label import Cost, Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.moments import GivenMoments
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.core.types import FloatArray, RecordArray

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class Probe:
    """One thing that was looked at by ``magflow check``: present or not, and how to get it."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True)
class Doubt:
    """Something that is allowed and more likely a slip than meant.

    Parameters
    ----------
    setting
        Which one.
    detail
        What is odd about it.
    hint
        What was meant, perhaps.
    """

    setting: str
    detail: str
    hint: str = ""


class LabelSource(Protocol):
    """Where labels come from: an engine of one's own, or the jobs of another package."""

    @property
    def name(self) -> str:
        """The name its labels carry."""

    @property
    def kind(self) -> LabelKind:
        """What kind of label it makes."""

    def level_of_theory(self, elements: Sequence[str]) -> LevelOfTheory:
        """The level of theory for frames that hold `elements`; the same for every frame of a campaign.

        Raises MissingToolError or InputError if a program or dataset is absent or unfit.
        """


@runtime_checkable
class LabelEngine(LabelSource, Protocol):
    """Computes labels. Instances are frozen pydantic models of their settings."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Its settings, as pydantic writes them."""

    def probe(self, elements: Sequence[str]) -> list[Probe]:
        """What it needs and whether it is there; never raises."""

    def label(self, frame: Frame, level_of_theory: LevelOfTheory, workdir: Path) -> Label:
        """Run one calculation in `workdir` (exists, empty or holding an interrupted attempt).

        What can go wrong with a calculation comes back as a failed label; only a broken
        installation raises MissingToolError.
        """


@runtime_checkable
class HasDoubts(Protocol):
    """An engine that knows what its settings usually are."""

    def doubts(self, frames: Sequence[Frame]) -> list[Doubt]:
        """About its settings, for such frames; never raises."""


@runtime_checkable
class RefusesFrames(Protocol):
    """An engine that knows, before anything runs, which frames it cannot compute."""

    def refusal(self, frame: Frame) -> str | None:
        """Why it cannot be asked for `frame`; None if it can."""


@runtime_checkable
class HasCutoff(Protocol):
    """A family whose potentials see no farther than a distance that is one of its settings."""

    @property
    def cutoff(self) -> float:
        """A."""


@runtime_checkable
class UsesCores(Protocol):
    """An engine that computes one label on several cores; one that does not say takes one."""

    @property
    def cores(self) -> int:
        """How many."""


Progress = Callable[[float, str], None]
"""Called with the fraction done (0 to 1) and a short text."""


class WorkProgress(Protocol):
    """A :data:`Progress` of work that has parts."""

    def __call__(self, fraction: float, text: str, *, milestone: bool = False) -> None:
        """The fraction of all done (0 to 1) and a text; `milestone`: a part is finished, worth a line in a log."""


def silent(fraction: float, text: str, *, milestone: bool = False) -> None:
    """A :class:`WorkProgress` that nobody watches."""


@dataclass(frozen=True)
class FitReport:
    """What a fit did. `rmse` maps ``train``/``validation`` to quantity to RMSE in house units
    (energy in eV/atom).
    """

    converged: bool
    iterations: int
    rmse: Mapping[str, Mapping[str, float]]
    cost: Cost
    history: Sequence[Mapping[str, float]] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Potential(Protocol):
    """A trained model."""

    family: ClassVar[str]

    @property
    def species(self) -> tuple[str, ...]:
        """Elements it knows."""

    @property
    def cutoff(self) -> float:
        """Largest distance at which atoms act on each other, A."""

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """Energy, forces, stress, magnetic forces. Raises InputError on an unknown species or missing moments."""

    def to_bytes(self) -> bytes:
        """The whole model, no pickle."""

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """ASE calculator at these moments, or at those of the atoms; atoms without any are refused.

        :class:`magflow.potentials.calculator.FrameCalculator` is one for any potential.
        """


@runtime_checkable
class SupportsGrades(Protocol):
    """A potential, or an ensemble, with descriptors and a D-optimal extrapolation grade."""

    def descriptors(self, frames: Sequence[Frame]) -> FloatArray:
        """(n, d) one descriptor vector per frame, for diversity; the same for M and -M."""

    def grades(self, frames: Sequence[Frame]) -> FloatArray:
        """(n,) extrapolation grade of each frame: the largest over its atoms; needs the active set of the fit."""


@runtime_checkable
class TellsGraded(Protocol):
    """A potential with grades that says whether it carries what they need; one that does not say carries it."""

    @property
    def graded(self) -> bool:
        """Whether it can grade frames."""


def parts_of(potential: object) -> Sequence[object]:
    """The members of an ensemble, or the potential."""
    members: Sequence[object] = getattr(potential, "members", (potential,))
    return members


def has_grades(potential: object) -> bool:
    """Whether a potential, or each member of an ensemble, can grade frames."""
    return all(
        isinstance(p, SupportsGrades) and (not isinstance(p, TellsGraded) or p.graded) for p in parts_of(potential)
    )


@runtime_checkable
class KnowsAtomicEnergies(Protocol):
    """A potential whose energy is a sum over atoms."""

    def atomic_energies(self, frames: Sequence[Frame]) -> FloatArray:
        """(sum N,) eV, each atom's share."""


@runtime_checkable
class TellsMagnetic(Protocol):
    """A potential that says whether it reads moments; one that does not say reads them."""

    @property
    def magnetic(self) -> bool:
        """Whether it does."""


@runtime_checkable
class KnowsMoments(Protocol):
    """A potential that says which moments it has seen."""

    @property
    def max_moment(self) -> Mapping[str, float]:
        """Element to the largest |m| it knows, muB."""


@runtime_checkable
class KnowsDistances(Protocol):
    """A potential that says how close to each other it has seen atoms."""

    @property
    def r_min(self) -> float:
        """Shortest distance it was fitted on, A."""


@runtime_checkable
class KnowsStressOffset(Protocol):
    """A potential that knows what labelled stresses hold and the energy does not."""

    def label_stress_offset(self, frames: Sequence[Frame]) -> FloatArray:
        """(n, 6) eV/A^3 to add to the predicted stress before it is compared with labelled ones."""


@runtime_checkable
class SharesGeometry(Protocol):
    """A potential whose neighbour lists others of its family can use."""

    def shares_geometry(self, other: Potential) -> bool:
        """Whether the lists of one serve the other."""

    def geometry(self, frames: Sequence[Frame]) -> Any:
        """The lists of some frames."""

    def predict_geometry(self, geometry: Any) -> Prediction:
        """As :meth:`Potential.predict`, from the lists of another."""


@runtime_checkable
class PredictsTogether(Protocol):
    """A potential that predicts for several of its family at less cost than one after the other."""

    def predict_with(self, members: Sequence[Any], frames: Sequence[Frame]) -> list[Prediction]:
        """As :meth:`Potential.predict` of each of `members`, whose neighbour lists serve this one."""


@runtime_checkable
class GradesGeometry(SharesGeometry, Protocol):
    """One that grades from the lists of another, too."""

    def grades_geometry(self, geometry: Any) -> FloatArray:
        """As :meth:`SupportsGrades.grades`."""


@runtime_checkable
class MovesTogether(Protocol):
    """A potential that can move runs on the mean of several of its family."""

    def dynamics_with(
        self, members: Sequence[Potential], motions: Sequence[Motion], calibration: Calibration
    ) -> Propagator:
        """A propagator on the mean of `members`, this one among them, their deviations calibrated."""


@runtime_checkable
class MovesAlone(Protocol):
    """A potential that can move runs by itself and tell the deviation that its own fit knows of."""

    def dynamics_alone(self, motions: Sequence[Motion], calibration: Calibration) -> Propagator:
        """A propagator on this potential, its deviations calibrated."""


@runtime_checkable
class PotentialFamily(Protocol):
    """Trains potentials of one family. Instances are frozen pydantic models of their settings."""

    @property
    def name(self) -> str:
        """Its entry point."""

    @property
    def magnetic(self) -> bool:
        """Whether its potentials read moments."""

    @property
    def needs_moments(self) -> bool:
        """Whether it cannot learn from labels without moments."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Its settings, as pydantic writes them."""

    def model_dump_json(self) -> str:
        """The same as text: it decides, with the labels, which fit an interrupted one is."""

    def fit(
        self,
        train: Sequence[LabeledFrame],
        *,
        elements: Sequence[str],
        seed: int,
        validation: Sequence[LabeledFrame] = (),
        start: Potential | None = None,
        progress: Progress | None = None,
        workdir: Path | None = None,
    ) -> tuple[Potential, FitReport]:
        """Fit one model; `train` may hold repeats (a bootstrap sample). `start` warm-starts the fit.

        `workdir` is a directory of this fit alone: one that was killed goes on from what it left there, with the same
        result, and raises InputError if that belongs to another fit. None: nothing is left anywhere.
        """

    def load(self, data: bytes) -> Potential:
        """Inverse of :meth:`Potential.to_bytes`. Raises InputError on a corrupt model."""

    def probe(self) -> list[Probe]:
        """What it needs and whether it is there; never raises."""


@runtime_checkable
class NeedsStart(Protocol):
    """A family whose fits begin from a potential that is there already, of any family."""

    @property
    def needs_start(self) -> bool:
        """Whether it cannot begin from nothing."""


@runtime_checkable
class LearnsForceConstants(PotentialFamily, Protocol):
    """A family that meets force constants beside ordinary labels; `fit` takes them, too.

    Each row is a target: the columns of the Hessian at clamped moments, each component with
    :attr:`force_constant_weight`. How they are met is the family's own: as rows of its least squares, or as a loss that
    goes on from `start`.
    """

    @property
    def learns_force_constants(self) -> bool:
        """Whether the settings let it."""

    @property
    def force_constant_weight(self) -> float:
        """What a component weighs beside the labels, in the family's own units of 1/(eV/A^2)."""

    def weighing(self, force_constants: float, stress: float = 1.0, forces: float = 1.0) -> LearnsForceConstants:
        """The same family with another :attr:`force_constant_weight`, and `stress` times the weight of stresses and
        `forces` times those of forces and magnetic forces while force constants are learnt.
        """

    def fit(
        self,
        train: Sequence[LabeledFrame],
        *,
        elements: Sequence[str],
        seed: int,
        validation: Sequence[LabeledFrame] = (),
        start: Potential | None = None,
        progress: Progress | None = None,
        workdir: Path | None = None,
        force_constants: Sequence[ForceConstantLabel] = (),
    ) -> tuple[Potential, FitReport]:
        """As :meth:`PotentialFamily.fit`. Raises InputError on force constants of moments that follow the atoms."""


@runtime_checkable
class Ensemble(Protocol):
    """K potentials of one family that differ by seed and sample."""

    @property
    def members(self) -> tuple[Potential, ...]:
        """The potentials."""

    def predict(self, frames: Sequence[Frame]) -> EnsemblePrediction:
        """Mean and deviation of every quantity."""


class Propagator(Protocol):
    """Moves a batch of runs; the splitting and the random numbers are those of :mod:`magflow.core.dynamics`.

    A run does not depend on the others. One that meets a limit stays where it met it; the others go on.
    """

    def advance(self, step: int) -> None:
        """Move every run that has neither stopped nor been retired until it has made `step` steps.

        An interrupt from the keyboard is heeded between two steps and leaves all runs usable.
        """

    def stop(self, run: int) -> Stop | None:
        """Which limit a run met."""

    def observe(self, run: int) -> Observation:
        """Where a run is. Raises InputError if that is not finite."""

    def record(self, every: int) -> None:
        """From now on note every run at every step that `every` divides, once it is made; 0: no more."""

    def recorded(self, run: int) -> RecordArray:
        """(n,) of :data:`~magflow.core.dynamics.RECORD`: what was noted of a run since this was last asked."""

    def set_magmoms(self, magmoms: Mapping[int, FloatArray]) -> None:
        """Go on with other moments (N, 3), muB, of some runs; what it changes of their energy counts as heat."""

    def retire(self, run: int) -> None:
        """Leave a run where it is from now on."""


@runtime_checkable
class SupportsDynamics(Protocol):
    """An ensemble that can move many runs by itself, faster than one call of `predict` per step."""

    def dynamics(self, motions: Sequence[Motion]) -> Propagator | None:
        """A propagator on the mean of the members, or None if these members cannot be moved together.

        Raises InputError on an unknown species or missing moments.
        """
