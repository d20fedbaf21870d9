"""What a relaxation says to people: the state before and after, the starts, and what deserves a warning."""

from __future__ import annotations

from magflow.explore.relaxation.starts import MultiStart
from magflow.presentation.blocks import Table
from magflow.presentation.sections import Section, TitledTable
from magflow.studies.relax.result import RelaxResult
from magflow.studies.relax.state import Row


def section(result: RelaxResult) -> Section:
    """The relaxation as a part of a page."""
    tables = [TitledTable("Before and after", state_table(result))]
    if result.starts is not None:
        tables.append(TitledTable("Starts", start_table(result.starts)))
    return Section(
        name="relaxation",
        label="Relaxation",
        title="Moments, atoms and cell at rest",
        explanation="Deviations: calibrated spread of the ensemble. Above a grade of 2 or 0.3 eV/A of a "
        "force it is outside the training set.",
        tables=tables,
        remarks=remarks(result),
    )


def state_table(result: RelaxResult) -> Table:
    """One row per number of the state."""
    rows = [
        [old.name, _number(old), _number(new), new.unit]
        for old, new in zip(result.before.rows(), result.after.rows(), strict=True)
    ]
    return Table(["", "before", "after", ""], rows, frozenset({1, 2}))


def _number(row: Row) -> str:
    """Energies and lengths with fixed decimals; what is to be small, and measures of trust, with three digits."""
    return f"{row.value:.3g}" if row.name.startswith(("largest", "deviation", "extrapol")) else f"{row.value:.5f}"


def start_table(starts: MultiStart) -> Table:
    """One row per start of the moments."""
    rows = []
    for name, one in starts.relaxations.items():
        remark = "converged" if one.converged else "not converged"
        chosen = " (lowest)" if name == starts.lowest else ""
        rows.append([name, f"{one.enthalpy / len(one.frame):.6f}", remark + chosen])
    return Table(["start", "enthalpy (eV/atom)", ""], rows, frozenset({1}))


def remarks(result: RelaxResult) -> list[tuple[str, str]]:
    """What is left to relax, what went wrong, and whether the end is known to the ensemble."""
    r = result.relaxation
    if r.converged:
        said = [("relaxation", f"converged after {r.evaluations} predictions")]
    else:
        left = "; ".join(str(u) for u in r.unmet) or "stopped"
        said = [("relaxation", f"not converged after {r.evaluations} predictions: {left}")]
    if r.health:
        said.append(("look at", ", ".join(str(h) for h in r.health)))
    if result.after.outside:
        reasons = "; ".join(result.after.outside)
        said.append(("outside the training set", f"{reasons}; label this state before you rely on it"))
    return said
