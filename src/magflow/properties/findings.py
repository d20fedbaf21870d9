"""What a property that is measured in several runs has come to, while it is under way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from magflow.properties.base import PropertySettings
from magflow.properties.liquid import UnstableError
from magflow.properties.measurement import Curve, Measurement, Value
from magflow.properties.sampling import DOUBTFUL_SHARE, facts
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.tracks import Track, deviations, outside

FOREIGN = 0.5
"""Share of the runs of a liquid outside the training domain from which there is no answer."""


@dataclass
class Findings:
    """Values, curves and runs, gathered as they come; what fails at one temperature does not take the others along."""

    begin: float = field(default_factory=time.process_time)
    tracks: list[Track] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def fail(self, error: UnmeasurableError, kelvin: float | None = None) -> None:
        """Note why there is no answer, at one temperature if it is given."""
        if isinstance(error, UnstableError):
            self.tracks.append(error.track)
        self.failures.append(str(error) if kelvin is None else f"{kelvin:g} K: {error}")

    def keep(self, tracks: Sequence[Track]) -> bool:
        """Keep some runs; whether all of them held."""
        self.tracks += tracks
        why = next((track.unstable for track in tracks if track.unstable), "")
        self.failures += [why] if why else []
        return not why

    def measurement(self, asked: PropertySettings, subject: Subject) -> Measurement:
        """All of it."""
        return asked.found(
            subject,
            values=tuple(self.values),
            curves=self.curves,
            failure="; ".join(self.failures),
            remarks=tuple(self.remarks),
            cpu_seconds=time.process_time() - self.begin,
            **(facts(self.tracks) if self.tracks else {"atoms": len(subject.frame)}),
        )


@dataclass
class LiquidFindings(Findings):
    """Those of a liquid, with what the runs say of the trust it deserves."""

    def measurement(self, asked: PropertySettings, subject: Subject) -> Measurement:
        """All of it; no answer, where the potential knows no liquid."""
        share = outside(self.tracks) if self.tracks else None
        if share is not None and share > FOREIGN:
            why = f"{share:.0%} of the runs lie outside the training domain: the potential knows no liquid"
            self.failures.append(why)
        elif share is not None and share > DOUBTFUL_SHARE:
            self.remarks.append(f"{share:.0%} of the runs lie outside the training domain")
        if self.tracks and np.isfinite(deviations(self.tracks)[0]) and len(subject.ensemble.members) > 1:
            mean, largest = deviations(self.tracks)
            self.remarks.append(f"deviation of a force {mean:.3g} eV/A in the mean of the runs, {largest:.3g} at most")
        return super().measurement(asked, subject)
