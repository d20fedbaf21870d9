"""What ``magflow relax`` runs and shows: the task, the states before and after, the table and the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magflow.cli.relaxed_state import Row, State, grades_of, states
from magflow.core.frame import Frame
from magflow.core.protocols import Progress
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.joint import Relaxation
from magflow.explore.relaxation.joint import relax as relax_frame
from magflow.explore.relaxation.settings import RelaxSettings
from magflow.explore.relaxation.starts import MultiStart, relax_from_starts
from magflow.io.extxyz import write_extxyz
from magflow.io.predictions import check_predictable, predicted_records
from magflow.io.records import Record
from magflow.potentials.ensemble import PotentialEnsemble


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished relaxation: its result, the other starts if there were any, the states before and after."""

    ensemble: PotentialEnsemble
    relaxation: Relaxation
    starts: MultiStart | None
    before: State
    after: State

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        r = self.relaxation
        return {
            "converged": r.converged,
            "unmet": [asdict(u) for u in r.unmet],
            "health": [str(h) for h in r.health],
            "evaluations": r.evaluations,
            "enthalpy_ev": r.enthalpy,
            "outside_training_set": self.after.outside,
            "before": {row.name: {"value": row.value, "unit": row.unit} for row in self.before.rows()},
            "after": {row.name: {"value": row.value, "unit": row.unit} for row in self.after.rows()},
            "start": None if self.starts is None else self.starts.lowest,
            "starts": None
            if self.starts is None
            else {
                name: {"enthalpy_ev": one.enthalpy, "converged": one.converged}
                for name, one in self.starts.relaxations.items()
            },
        }


@dataclass(frozen=True, eq=False)
class RelaxTask:
    """A structure and all that is needed to relax it."""

    ensemble: PotentialEnsemble
    frame: Frame
    settings: RelaxSettings
    bounds: MomentRanges | None
    multi_start: bool

    @classmethod
    def prepared(
        cls,
        ensemble: PotentialEnsemble,
        frame: Frame,
        settings: RelaxSettings,
        *,
        bounds: Sequence[str],
        multi_start: bool,
        where: str,
    ) -> RelaxTask:
        """Check that model and structure fit together and find the bounds of the moments.

        Raises
        ------
        InputError
            Unknown element, moments missing, no bound for an element, options that exclude each other.
        """
        if multi_start and (not ensemble.magnetic or Held.MOMENTS in settings.held):
            raise InputError("--moments multi-start needs moments that are free", where=where)
        if frame.magmoms is None and ensemble.magnetic and not multi_start:
            raise InputError(
                "the structure has no moments",
                where=where,
                expected="a column magmoms, muB (extended XYZ)",
                hint="nothing is guessed: give them, or search with --moments multi-start",
            )
        check_predictable([Record(frame)], ensemble.species, magnetic=False, where=where)
        free = ensemble.magnetic and Held.MOMENTS not in settings.held
        return cls(ensemble, frame, settings, moment_bounds(ensemble, frame, bounds) if free else None, multi_start)

    def run(self, progress: Progress | None = None) -> Outcome:
        """Relax, and look at both ends."""
        starts, given = None, self.frame
        if self.multi_start and self.bounds is not None:
            starts = relax_from_starts(self.frame, self.ensemble, self.bounds, self.settings, progress)
            relaxation = starts.best
            if given.magmoms is None and relaxation.steps:
                given = relaxation.steps[0].frame
        else:
            relaxation = relax_frame(self.frame, self.ensemble, self.bounds, self.settings, progress)
        before, after = states(self.ensemble, [given, relaxation.frame])
        return Outcome(self.ensemble, relaxation, starts, before, after)


def moment_bounds(ensemble: PotentialEnsemble, frame: Frame, asked: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Range of |m| of each element of the frame, muB: what is asked for as ``EL=MUB``, else what all members know."""
    bounds: dict[str, float] = {}
    for member in ensemble.members:
        for element, most in getattr(member, "max_moment", {}).items():
            bounds[element] = min(most, bounds.get(element, np.inf))
    for text in asked:
        element, _, number = text.partition("=")
        try:
            bounds[element.strip()] = float(number)
        except ValueError as error:
            raise InputError("not a bound of a moment", where="--max-moment", seen=text, expected="EL=MUB") from error
    missing = sorted(set(frame.species) - set(bounds))
    if missing:
        raise InputError(
            "the model does not say how large a moment it knows",
            seen=", ".join(missing),
            hint="give --max-moment EL=MUB for each of them",
        )
    return {element: (0.0, bounds[element]) for element in sorted(set(frame.species))}


def write(outcome: Outcome, output: Path | None, trajectory: Path | None) -> None:
    """Write the relaxed structure and the states on the way, with predictions and deviations."""
    if output is not None:
        _write_frames(outcome.ensemble, [outcome.relaxation.frame], output)
    if trajectory is not None:
        steps = [step.frame for step in outcome.relaxation.steps]
        _write_frames(outcome.ensemble, steps or [outcome.relaxation.frame], trajectory)


def _write_frames(ensemble: PotentialEnsemble, frames: Sequence[Frame], path: Path) -> None:
    records = [Record(frame) for frame in frames]
    write_extxyz(path, predicted_records(records, ensemble.predict(frames), grades=grades_of(ensemble, frames)))


def show(outcome: Outcome, output: Path | None) -> None:
    """The table, the other starts, and what deserves a warning."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    console.print(_table(outcome.before.rows(), outcome.after.rows()))
    if outcome.starts is not None:
        console.print(_starts(outcome.starts))
    r = outcome.relaxation
    if r.converged:
        console.print(f"[green]converged[/green] after {r.evaluations} predictions")
    else:
        left = "; ".join(str(u) for u in r.unmet) or "stopped"
        console.print(f"[red]not converged[/red] after {r.evaluations} predictions: {left}")
    if r.health:
        console.print(f"[yellow]look at[/yellow] {', '.join(str(h) for h in r.health)}")
    if outcome.after.outside:
        reasons = "; ".join(outcome.after.outside)
        console.print(f"[red]outside the training set[/red]: {reasons}; label this state before you rely on it")
    if output is not None:
        console.print(f"wrote {output}", markup=False)


def _table(before: Sequence[Row], after: Sequence[Row]) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    table.add_column("")
    for old, new in zip(before, after, strict=True):
        table.add_row(new.name, _number(old), _number(new), new.unit)
    return table


def _number(row: Row) -> str:
    """Energies and lengths with fixed decimals; what is to be small, and measures of trust, with three digits."""
    return f"{row.value:.3g}" if row.name.startswith(("largest", "deviation", "extrapol")) else f"{row.value:.5f}"


def _starts(starts: MultiStart) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("start")
    table.add_column("enthalpy, eV/atom", justify="right")
    table.add_column("")
    for name, one in starts.relaxations.items():
        remark = "converged" if one.converged else "not converged"
        chosen = " [bold](lowest)[/bold]" if name == starts.lowest else ""
        table.add_row(name, f"{one.enthalpy / len(one.frame):.6f}", remark + chosen)
    return table
