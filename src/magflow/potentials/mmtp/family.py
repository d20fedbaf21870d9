"""Settings of the mMTP family: what is fitted, and how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.label import LabeledFrame
from magflow.core.protocols import FitReport, Potential, Probe, Progress
from magflow.errors import InputError, MissingToolError
from magflow.potentials.mmtp.basis import MAX_LEVEL, MIN_LEVEL
from magflow.potentials.mmtp.fit import fit_mmtp
from magflow.potentials.mmtp.grade import Scope
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.native import kernel
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.promote import PromotionSettings
from magflow.potentials.mmtp.residuals import MmtpWeights
from magflow.potentials.mmtp.task import FitTask


class MmtpFamily(BaseModel):
    """Magnetic moment tensor potentials. Labels without moments give the non-magnetic potential."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str] = "mmtp"
    magnetic: ClassVar[bool] = True
    needs_moments: ClassVar[bool] = False

    form: Form = Field(
        default=Form.EVEN,
        description="even: products even in the moments, symmetric under M -> -M in one evaluation. "
        "paper: all products, with (E(M) + E(-M))/2 in use.",
    )
    level: int = Field(default=10, ge=MIN_LEVEL, le=MAX_LEVEL, description="Level of the contraction basis, 2 to 20.")
    cutoff: float = Field(default=5.0, gt=1.0, le=12.0, description="Neighbour cutoff, A.")
    r_min: float | None = Field(
        default=None, gt=0.0, description="Start of the radial polynomials, A; null: 0.95 of the closest training pair."
    )
    n_radial: int = Field(default=8, ge=2, le=24, description="Chebyshev polynomials of the distance.")
    n_psi: int | None = Field(
        default=None, ge=1, le=6, description="Chebyshev polynomials of a moment; null: 3 for even, 2 for paper."
    )
    max_moment: dict[str, float] = Field(
        default_factory=dict, description="Element to the largest moment, muB; elements left out: from the labels."
    )
    weights: MmtpWeights = Field(default_factory=MmtpWeights, description="Weights of the four quantities.")
    radial_ridge: float = Field(default=0.03, ge=0.0, description="Penalty on radial coefficients.")
    radial_growth: float = Field(
        default=5.0, ge=1.0, description="Factor on radial_ridge per radial polynomial degree."
    )
    magnetic_growth: float = Field(
        default=12.0, ge=1.0, description="Factor on radial_ridge per degree in the moments."
    )
    linear_ridge: float = Field(default=1e-4, ge=0.0, description="Penalty on the linear coefficients, relative.")
    grade: Scope = Field(
        default=Scope.LINEAR,
        description="What the extrapolation grade compares. linear: basis functions of an atom, per species. sites: "
        "derivatives by all parameters, MLIP's neighbourhood mode. frames: their sum; atoms have no grades then.",
    )
    promotion: PromotionSettings = Field(
        default_factory=PromotionSettings,
        description="What magnetic labels do to a non-magnetic potential the fit starts from.",
    )
    max_iterations: int = Field(
        default=40,
        ge=1,
        description="Levenberg-Marquardt iterations and, where labels are many, rounds of 10 BFGS steps.",
    )
    tolerance: float = Field(default=1e-4, ge=0.0, description="Relative decrease of the objective that ends a fit.")
    patience: int = Field(default=8, ge=1, description="Iterations without a better validation loss that end a fit.")

    @model_validator(mode="after")
    def _ranges(self) -> MmtpFamily:
        if self.r_min is not None and self.r_min >= self.cutoff:
            raise ValueError("r_min must be below cutoff")
        if any(m <= 0.0 for m in self.max_moment.values()):
            raise ValueError("max_moment must be positive")
        return self

    @property
    def moment_polynomials(self) -> int:
        """`n_psi`, or the default of the form."""
        return self.n_psi if self.n_psi is not None else (3 if self.form is Form.EVEN else 2)

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
    ) -> tuple[MmtpPotential, FitReport]:
        """Fit one potential.

        Parameters
        ----------
        train
            Labelled frames; repeats weigh more. A quantity a label lacks (None, or NaN entries) is left out.
        validation
            If given, the parameters with the smallest loss on it are kept, and the fit stops after `patience`
            iterations without a better one.
        start
            A potential of the same form, level, cutoff and elements to go on from; its ranges of distance and moments
            are widened where the labels need it. A non-magnetic one is promoted first if the labels have moments
            (:mod:`magflow.potentials.mmtp.promote`).
        workdir
            Where a checkpoint is kept, for a fit that is killed to go on from; created if absent.

        Raises
        ------
        InputError
            No labels, non-collinear moments, labels with and without moments, unknown elements, a warm start of
            another shape, values that are not finite, a checkpoint of another fit.
        """
        if start is not None and not isinstance(start, MmtpPotential):
            raise InputError("the warm start is of another family", seen=getattr(start, "family", type(start).__name__))
        species = tuple(sorted(set(elements)))
        return fit_mmtp(self, FitTask(train, validation, species, seed, start, progress, workdir))

    def load(self, data: bytes) -> MmtpPotential:
        """Inverse of :meth:`MmtpPotential.to_bytes`."""
        return MmtpPotential.from_bytes(data)

    def probe(self) -> list[Probe]:
        """Whether the compiled kernel loads."""
        try:
            found = ", ".join(kernel().instruction_sets())
        except MissingToolError as error:
            return [Probe("mMTP kernel", False, error.message, error.hint or "")]
        return [Probe("mMTP kernel", True, f"instruction sets: {found}")]
