"""What a run says to people: its second half as a table, its course as a figure, and why it ended."""

from __future__ import annotations

from magflow.explore.health import HealthReason
from magflow.presentation.blocks import Plot, Table, plot
from magflow.presentation.sections import Section, TitledTable
from magflow.studies.md.figure import thermo_figure
from magflow.studies.md.result import MdResult

_TOLD = {
    HealthReason.COMPLETED: "all steps made",
    HealthReason.GRADE_BREAK: "the extrapolation grade exceeded --grade-stop: label the last frame",
    HealthReason.DEVIATION_BREAK: "the deviation of a force exceeded --deviation-stop: label the last frame",
    HealthReason.NOT_FINITE: "energies or positions are not finite",
    HealthReason.MIN_DISTANCE: "two atoms came closer than 0.6 of the first shortest distance",
    HealthReason.ENERGY_BLOW_UP: "the energy moved by more than 3 eV/atom",
    HealthReason.TEMPERATURE_EXPLOSION: "the temperature rose beyond all bounds",
    HealthReason.RELAXATION_UNCONVERGED: "the moments could not be relaxed",
}


def section(result: MdResult) -> Section:
    """The run as a part of a page."""
    title = f"{result.atoms} atoms, second half of {int(result.course['step'][-1])} steps"
    remarks = [(str(result.reason), _TOLD[result.reason])]
    if result.seconds > 0.0 and result.steps:
        remarks.append(("speed", f"{result.steps / result.seconds:.4g} steps/s"))
    return Section(
        name="dynamics",
        label="Dynamics",
        title="Molecular dynamics",
        plots=[thermo_plot(result)],
        tables=[TitledTable(title, second_half(result))],
        remarks=remarks,
    )


def second_half(result: MdResult) -> Table:
    """One row per quantity of the log: what it was in the second half of the run."""
    rows = [[name, *(f"{x:.6g}" for x in values)] for name, values in result.rows().items()]
    return Table(["quantity", "mean", "standard deviation", "last"], rows, frozenset({1, 2, 3}))


def thermo_plot(result: MdResult) -> Plot:
    """The course of the run, for a page."""
    figure = thermo_figure(result.course, result.atoms, result.options.grade_stop)
    caption = "Temperature, energies, pressure or volume, and what the ensemble knows, against time."
    return plot(figure, "thermo", caption, result.course, wide=True)
