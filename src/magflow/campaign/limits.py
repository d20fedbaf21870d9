"""The sections `stop` and `execution` of a campaign file: when the work ends, and how much of it goes on at once."""

from __future__ import annotations

from pydantic import Field, model_validator

from magflow.campaign.base import Section, problem
from magflow.core.constants import EV_PER_A3_IN_GPA
from magflow.select.stopping import StopRules


class TargetsSpec(Section):
    """Accuracy asked for: RMSE of the ensemble on labels it has not seen. What is left out is not looked at."""

    energy_mev_per_atom: float | None = Field(None, gt=0, description="Energy, meV/atom.")
    forces_mev_per_a: float | None = Field(None, gt=0, description="Force components, meV/A.")
    stress_gpa: float | None = Field(None, gt=0, description="Stress components, GPa.")
    magnetic_forces_mev_per_mub: float | None = Field(None, gt=0, description="Magnetic forces -dE/dm, meV/muB.")

    def house(self) -> dict[str, float]:
        """Targets by quantity in eV/atom, eV/A, eV/A^3 and eV/muB."""
        values = {
            "energy": (self.energy_mev_per_atom, 1e-3),
            "forces": (self.forces_mev_per_a, 1e-3),
            "stress": (self.stress_gpa, 1.0 / EV_PER_A3_IN_GPA),
            "magnetic_forces": (self.magnetic_forces_mev_per_mub, 1e-3),
        }
        return {name: value * factor for name, (value, factor) in values.items() if value is not None}


class StopSpec(Section):
    """When the campaign ends: at its targets or with its budget, whichever comes first."""

    targets: TargetsSpec = Field(TargetsSpec(), description="Accuracy asked for.")
    consecutive: int = Field(
        2, ge=1, le=20, description="Iterations in a row whose new labels were predicted within every target."
    )
    labels: int | None = Field(None, ge=1, description="Labels the campaign may compute, failed ones included.")
    core_hours: float | None = Field(None, gt=0, description="Core-hours the campaign may spend, all phases.")
    iterations: int | None = Field(None, ge=1, description="Iterations the campaign may run.")

    @model_validator(mode="after")
    def _ends(self) -> StopSpec:
        if self.labels is None and self.core_hours is None and self.iterations is None:
            raise problem(
                "a budget: labels, core_hours or iterations",
                seen="none",
                hint="targets alone may never be met",
            )
        return self

    def rules(self) -> StopRules:
        """The rules in house units."""
        return StopRules(self.targets.house(), self.consecutive, self.labels, self.core_hours, self.iterations)


class ExecutionSpec(Section):
    """Where and how the work runs. Nothing here changes a result."""

    workers: int = Field(1, ge=1, le=1024, description="Jobs that run at the same time on this machine.")
    cores_per_label: int | None = Field(
        None, ge=1, le=4096, description="MPI ranks of one label; left out: what the engine's settings say."
    )
    label_time_limit_s: float | None = Field(
        None, gt=0, description="Wall seconds one label may take; left out: what the engine's settings say."
    )
    keep_files: bool | None = Field(
        None, description="Keep every file of a label run; left out: what the engine's settings say."
    )
    quiet_limit_s: float | None = Field(
        1800,
        ge=60,
        description="Seconds after which a job whose processes use no CPU time here is taken to hang: it is ended and "
        "offered again. null: never, for programs that only wait for another machine.",
    )
