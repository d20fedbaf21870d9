"""What a property that is measured in several runs has come to, while it is under way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from magflow.properties.base import PropertySettings
from magflow.properties.liquid import UnstableError
from magflow.properties.measurement import Curve, Measurement, Value
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.tracks import Track, deviations, outside

FOREIGN, DOUBTFUL = 0.5, 0.05
"""Shares of the runs outside the training domain from which there is no answer, and from which it is told."""


@dataclass
class Findings:
    """Values, curves and runs, gathered as they come; what fails at one temperature does not take the others along."""

    begin: float = field(default_factory=time.process_time)
    tracks: list[Track] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    unstable: list[Track] = field(default_factory=list)

    def fail(self, error: UnmeasurableError, kelvin: float | None = None) -> None:
        """Note why there is no answer, at one temperature if it is given."""
        if isinstance(error, UnstableError):
            self.unstable.append(error.track)
        self.failures.append(str(error) if kelvin is None else f"{kelvin:g} K: {error}")

    def measurement(self, asked: PropertySettings, subject: Subject) -> Measurement:
        """All of it, with what the runs say of the trust it deserves."""
        tracks = [*self.tracks, *self.unstable]
        share = outside(tracks) if tracks else None
        failures, remarks = list(self.failures), list(self.remarks)
        if share is not None and share > FOREIGN:
            failures.append(f"{share:.0%} of the runs lie outside the training domain: the potential knows no liquid")
        elif share is not None and share > DOUBTFUL:
            remarks.append(f"{share:.0%} of the runs lie outside the training domain")
        if tracks and np.isfinite(deviations(tracks)[0]) and len(subject.ensemble.members) > 1:
            mean, largest = deviations(tracks)
            remarks.append(f"deviation of a force {mean:.3g} eV/A in the mean of the runs, {largest:.3g} at most")
        return asked.found(
            subject,
            values=tuple(self.values),
            curves=self.curves,
            atoms=max((track.atoms for track in tracks), default=len(subject.frame)),
            picoseconds=float(sum(track.picoseconds for track in tracks)),
            outside=share,
            failure="; ".join(failures),
            remarks=tuple(remarks),
            frames=tuple(track.end.frame for track in self.unstable),
            cpu_seconds=time.process_time() - self.begin,
        )
