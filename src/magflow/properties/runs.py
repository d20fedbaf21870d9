"""Long runs of molecular dynamics side by side, that a killed process goes on with to the last bit.

A directory holds what grows (records of every few steps, looks) and the state of all runs at one step, which says how
long the growing files were: what was written after that is cut off, and the same steps are made again.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.arrays import DAMAGE, digest, read_archive
from magflow.core.dynamics import RECORD, Motion, at_rest
from magflow.core.files import append_to_file, cut_file, replace_file, size_on_disk
from magflow.core.frame import Frame
from magflow.core.protocols import WorkProgress
from magflow.core.types import FloatArray, IntArray, RecordArray
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.geometry import repeated
from magflow.explore.health import HealthReason
from magflow.explore.motion_file import motion_from_bytes, motion_to_bytes
from magflow.explore.relaxation.held import Held
from magflow.explore.starting import Conditions, started
from magflow.explore.watching import Sighting, Watch, watch
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.base import Work
from magflow.properties.measurement import Moments
from magflow.properties.subject import Subject
from magflow.properties.tracks import Track, look_of, look_type

FORMAT = Mark("state of runs", "magflow-runs")
STATE = "runs.npz"
SAVE_EVERY = 10.0
"""Seconds between two saved states."""
RELAX_EVERY = 10
"""Steps between two relaxations of moments that follow the atoms."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What some runs of one size do.

    Parameters
    ----------
    motions
        Where they start, all at step 0.
    steps
        Of each; a finished run can be asked for more.
    record_every
        Steps from one note of energies, stresses and deviations to the next.
    look_every
        Steps from one look to the next: grade, moments, cell.
    positions
        Whether a look keeps positions and moments of all atoms.
    relax_moments_every
        Steps from one relaxation of the moments to the next; None: they stay as they are.
    bounds
        Of these relaxations.
    """

    motions: Sequence[Motion]
    steps: int
    record_every: int = 1
    look_every: int = 50
    positions: bool = False
    relax_moments_every: int | None = None
    bounds: MomentRanges | None = None

    @property
    def watch(self) -> Watch:
        """What is done on the way."""
        return Watch(
            self.look_every,
            relax_moments_every=self.relax_moments_every,
            moments=self.bounds,
            record_every=self.record_every,
        )

    def identity(self, ensemble: PotentialEnsemble) -> str:
        """Decides, but for the number of steps, what is found."""
        how = [self.record_every, self.look_every, self.positions, self.relax_moments_every, self.bounds]
        models = [member.to_bytes() for member in ensemble.members]
        known = json.dumps([how, ensemble.calibration.as_dict()]).encode()
        return digest([*models, *(motion_to_bytes(m, {}) for m in self.motions), known])


def repeats_for(frame: Frame, atoms: int) -> IntArray:
    """(3,) of `frame` that make at least `atoms` atoms in a cell as wide as can be."""
    widths = 1.0 / np.linalg.norm(np.linalg.inv(frame.cell), axis=0)
    repeats = np.ones(3, int)
    while len(frame) * repeats.prod() < atoms:
        repeats[np.argmin(widths * repeats)] += 1
    return repeats


def supercell(subject: Subject, atoms: int) -> Frame:
    """The crystal repeated to at least `atoms` atoms, as wide as can be; its moments at rest if they are free.

    Raises
    ------
    UnmeasurableError
        If the moments do not come to rest.
    """
    frame = subject.frame if subject.bounds is None else subject.at_rest(Held.CELL, Held.ATOMS)
    i, j, k = repeats_for(frame, atoms).tolist()
    return repeated(frame, (i, j, k))


def planned(
    subject: Subject, frame: Frame, conditions: Sequence[Conditions], seeds: Sequence[int], steps: int, **how: Any
) -> Plan:
    """One run of `frame` under each of `conditions` with each of `seeds`, moments treated as the subject says.

    Parameters
    ----------
    how
        `record_every`, `look_every` and `positions` of the :class:`Plan`.
    """
    energy = float(subject.ensemble.predict([frame]).mean.energy[0])
    follow = subject.moments is Moments.RELAXED
    return Plan(
        [started(frame, energy, c, seed) for c in conditions for seed in seeds],
        steps,
        relax_moments_every=RELAX_EVERY if follow else None,
        bounds=subject.bounds if follow else None,
        **how,
    )


def run(ensemble: PotentialEnsemble, plan: Plan, work: Work) -> list[Track]:
    """Make the steps that are missing in `work`; one track per motion of the plan, in their order.

    Raises
    ------
    InputError
        If the directory holds other runs, or damaged ones.
    """
    runs = _Runs(ensemble, plan, work.directory, plan.identity(ensemble))
    runs.open()
    runs.go(work.progress)
    return [runs.track(k) for k in range(len(plan.motions))]


def at_mean_energy(
    subject: Subject, tracks: Sequence[Track], conditions: Conditions, cell: FloatArray | None = None
) -> list[Motion]:
    """Where `tracks` ended, with velocities that give each the mean energy of the second halves of them all.

    At constant energy a run keeps the temperature it begins with; that of a moment is off by several per cent.

    Parameters
    ----------
    conditions
        Of the runs to come: no baths, no pistons.
    cell
        (3, 3) A, that all of them get, fractional positions kept; None: each keeps its own.
    """
    half = [track.records[len(track.records) // 2 :] for track in tracks]
    target = float(np.mean([(r["energy"] + 0.5 * r["kinetic"][:, :3].sum(axis=1)).mean() for r in half]))
    frames = [track.end.frame for track in tracks]
    if cell is not None:
        frames = [f.replace(cell=cell, positions=f.positions @ np.linalg.inv(f.cell) @ cell) for f in frames]
    potential = subject.ensemble.predict(frames).mean.energy
    motions = []
    for track, frame, energy in zip(tracks, frames, potential, strict=True):
        end = replace(
            track.end, frame=frame, integration=conditions.integration(frame, 0), piston=np.zeros(0), heat=0.0, step=0,
            listed=None,
        )  # fmt: skip
        end = end.replace_velocities(at_rest(end.velocities, end.masses))
        motions.append(end.replace_velocities(end.velocities * np.sqrt(max(target - energy, 0.0) / end.kinetic)))
    return motions


@dataclass(eq=False)
class _Runs:
    """Runs of a plan in their directory."""

    ensemble: PotentialEnsemble
    plan: Plan
    directory: Path
    identity: str
    motions: list[Motion] = field(default_factory=list)
    reasons: list[HealthReason | None] = field(default_factory=list)

    def open(self) -> None:
        """Go on where the runs in the directory were, or begin."""
        path = self.directory / STATE
        if path.exists():
            self._restore(path)
            return
        self.motions = list(self.plan.motions)
        self.reasons = [None] * len(self.motions)
        for k in range(len(self.motions)):
            for file in self._files(k):
                replace_file(file, b"")

    def go(self, progress: WorkProgress) -> None:
        """Make the steps that are missing."""
        going = [k for k, m in enumerate(self.motions) if self._goes_on(k, m)]
        begun = {k: self.motions[k].step for k in going}
        saved = time.monotonic()
        for seen in watch(self.ensemble, [self.motions[k] for k in going], self.plan.steps, self.plan.watch):
            k = going[seen.run]
            self._take(k, seen, known=begun[k])
            if time.monotonic() - saved > SAVE_EVERY and self._together():
                self._save()
                saved = time.monotonic()
            step = self.motions[k].step
            progress(step / self.plan.steps, f"molecular dynamics, step {step} of {self.plan.steps}")
        if going:
            self._save()

    def track(self, k: int) -> Track:
        """What run `k` left."""
        records, looks = self._files(k)
        layout = look_type(len(self.motions[k].frame), positions=self.plan.positions)
        return Track(
            self.plan.motions[k],
            self.motions[k],
            self.reasons[k] or HealthReason.COMPLETED,
            np.fromfile(records, RECORD),
            np.fromfile(looks, layout),
        )

    def _goes_on(self, k: int, motion: Motion) -> bool:
        return self.reasons[k] in (None, HealthReason.COMPLETED) and motion.step < self.plan.steps

    def _files(self, k: int) -> tuple[Path, Path]:
        return self.directory / f"records-{k}.bin", self.directory / f"looks-{k}.bin"

    def _take(self, k: int, seen: Sighting, known: int) -> None:
        """Keep what is seen of run `k`; `known`: the step up to which its looks were kept before."""
        records, looks = self._files(k)
        append_to_file(records, seen.records.tobytes())
        self.reasons[k] = seen.reason
        if seen.observation is None or seen.reason not in (None, HealthReason.COMPLETED):
            return
        step = seen.observation.motion.step
        if step > known or looks.stat().st_size == 0:
            row: RecordArray = look_of(seen.observation, seen.grade, positions=self.plan.positions)
            append_to_file(looks, row.tobytes())
        self.motions[k] = seen.observation.motion

    def _together(self) -> bool:
        """Whether all runs that go on have made the same steps: only then can a state of them be gone on with."""
        return len({m.step for k, m in enumerate(self.motions) if self._goes_on(k, m)}) == 1

    def _save(self) -> None:
        sizes = [[size_on_disk(file) for file in self._files(k)] for k in range(len(self.motions))]
        header = {
            **FORMAT.stamp,
            "identity": self.identity,
            "reasons": self.reasons,
            "sizes": sizes,
        }
        arrays = {f"motion_{k}": _bytes(motion_to_bytes(m, {})) for k, m in enumerate(self.motions)}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, header=_bytes(json.dumps(header).encode()), **arrays)
        replace_file(self.directory / STATE, buffer.getvalue())

    def _restore(self, path: Path) -> None:
        try:
            arrays = read_archive(path)
            header = FORMAT.upgraded(json.loads(arrays["header"].tobytes().decode()), str(path))
            motions = [arrays[f"motion_{k}"].tobytes() for k in range(len(header["sizes"]))]
        except DAMAGE as error:
            raise InputError("the state of the runs is damaged", where=str(path), seen=str(error)) from error
        if header["identity"] != self.identity:
            raise InputError(
                "this directory holds other runs",
                where=str(self.directory),
                hint="name another, or remove it if its runs are no longer wanted",
            )
        self.motions = [motion_from_bytes(data, str(path))[0] for data in motions]
        self.reasons = [None if r is None else HealthReason(r) for r in header["reasons"]]
        for k, sizes in enumerate(header["sizes"]):
            for file, size in zip(self._files(k), sizes, strict=True):
                cut_file(file, size)


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)
