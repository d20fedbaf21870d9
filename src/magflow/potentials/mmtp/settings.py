"""Settings of the mMTP family: what is fitted, and how."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.potentials.mmtp.basis import MAX_LEVEL, MIN_LEVEL
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.promote import PromotionSettings
from magflow.potentials.mmtp.residuals import MmtpWeights
from magflow.potentials.mmtp.scope import Scope


class MmtpSettings(BaseModel):
    """All that decides a fit, but for the labels, the seed and where it starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    weights: MmtpWeights = Field(default_factory=MmtpWeights, description="Weights of the quantities.")
    radial_ridge: float = Field(default=0.03, ge=0.0, description="Penalty on radial coefficients.")
    radial_growth: float = Field(
        default=5.0, ge=1.0, description="Factor on radial_ridge per radial polynomial degree."
    )
    magnetic_growth: float = Field(
        default=12.0, ge=1.0, description="Factor on radial_ridge per degree in the moments."
    )
    linear_ridge: float = Field(default=1e-4, ge=0.0, description="Penalty on the linear coefficients, relative.")
    grade: Scope = Field(
        default=Scope.POSTERIOR,
        description="What the extrapolation grade looks at. posterior: how far energies, forces, stress and magnetic "
        "forces are left undecided by the labels. linear: basis functions of an atom, per species. sites: derivatives "
        "by all parameters, MLIP's neighbourhood mode. frames: their sum; atoms have no grades then.",
    )
    promotion: PromotionSettings = Field(
        default_factory=PromotionSettings,
        description="What labels do to a non-magnetic potential the fit starts from, which learnt from others.",
    )
    starts: int = Field(
        default=3,
        ge=1,
        le=20,
        description="Random starts of a fresh fit; the best after a few iterations goes on.",
    )
    max_iterations: int = Field(
        default=150,
        ge=1,
        description="Levenberg-Marquardt iterations and, where labels are many, rounds of 10 BFGS steps: a guard.",
    )
    tolerance: float = Field(
        default=0.03,
        ge=0.0,
        description="A fit has converged when a full Gauss-Newton step promises to lower the objective by less than "
        "this share of it.",
    )
    patience: int = Field(default=8, ge=1, description="Iterations without a better validation loss that end a fit.")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if self.r_min is not None and self.r_min >= self.cutoff:
            raise ValueError("r_min must be below cutoff")
        if any(m <= 0.0 for m in self.max_moment.values()):
            raise ValueError("max_moment must be positive")
        return self

    @property
    def moment_polynomials(self) -> int:
        """`n_psi`, or the default of the form."""
        return self.n_psi if self.n_psi is not None else (3 if self.form is Form.EVEN else 2)
