"""One label before the campaign: whether the engine answers, and what the campaign will cost."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from magflow.campaign.doubts import Placed
from magflow.campaign.estimate import POWER, compositions_of, estimate
from magflow.campaign.schema import CampaignSpec
from magflow.core.frame import Frame
from magflow.core.label import Label
from magflow.core.protocols import Doubt
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.explore.prototypes import build_prototypes

_SHARE = 0.75
"""Of the largest moment: about that of a metal in a range that begins at zero."""
_MOST_GPA = 10.0
"""What a change of the volume by a twentieth takes in iron; a crystal at more is not what it is at rest."""


@dataclass(frozen=True)
class Trial:
    """The label of the first prototype at three quarters of its largest moments."""

    frame: Frame
    label: Label

    @property
    def core_seconds(self) -> float:
        """What it took of idle cores: CPU time, which another load does not lengthen; without it wall time x cores."""
        cost = self.label.cost
        return cost.cpu_seconds or cost.wall_seconds * cost.cores

    @property
    def pressure(self) -> float | None:
        """GPa; None without stress."""
        stress = self.label.stress
        return None if stress is None else float(-stress[:3].mean() * EV_PER_A3_IN_GPA)

    def told(self) -> str:
        """The outcome in one line."""
        took = f"{self.core_seconds:.3g} CPU s ({self.label.cost.wall_seconds:.3g} s on the clock)"
        if self.label.failure is not None:
            return f"{self.frame.formula} failed after {took}: {self.label.failure.kind}: {self.label.failure.message}"
        energy = float(self.label.energy or 0.0) / len(self.frame)
        pressure = "" if self.pressure is None else f", {self.pressure:.1f} GPa"
        return f"{self.frame.formula} in {took}: {energy:.4f} eV/atom{pressure}"


def try_label(spec: CampaignSpec) -> Trial:
    """Label the first prototype in a folder of its own, which is removed.

    Raises
    ------
    MagflowError
        If a program or dataset is missing, or the prototype cannot be built.
    """
    system = spec.system
    ideal = build_prototypes(system.prototypes[:1], system.elements, Path(), system.moments)[0].frame
    frame = ideal if ideal.magmoms is None else ideal.replace(magmoms=_SHARE * ideal.magmoms)
    engine = spec.engine()
    with tempfile.TemporaryDirectory(prefix="magflow-try-") as folder:
        return Trial(frame, engine.label(frame, engine.level_of_theory(system.elements), Path(folder)))


def price(spec: CampaignSpec, trial: Trial) -> str:
    """As :func:`magflow.campaign.estimate.estimate`, from the trial."""
    each = {
        composition: trial.core_seconds * (atoms / len(trial.frame)) ** POWER
        for composition, atoms in compositions_of(spec).items()
    }
    return estimate(spec.model_copy(update={"label": spec.label.model_copy(update={"core_seconds": each})}))


def trial_doubts(trial: Trial) -> list[Placed]:
    """A crystal far from its volume at rest."""
    pressure = trial.pressure
    if pressure is None or abs(pressure) < _MOST_GPA:
        return []
    side = "small" if pressure > 0 else "large"
    detail = f"a pressure of {pressure:.0f} GPa: the lattice constant is too {side} for this level of theory"
    hint = "the volumes of explore.domain are taken about this one, and should hold that at rest"
    return [(("system", "prototypes", 0), Doubt("a", detail, hint))]
