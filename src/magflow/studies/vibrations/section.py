"""What is printed and shown of the phonons of one crystal."""

from __future__ import annotations

from magflow.presentation.blocks import Plot, Table
from magflow.presentation.sections import Section, TitledTable
from magflow.properties.measurement import Measurement
from magflow.properties.phonon_plots import figures
from magflow.properties.phonon_tables import tables
from magflow.properties.quasi_harmonic import QuasiHarmonic
from magflow.studies.validate.result import Validation
from magflow.studies.validate.section import remarks
from magflow.studies.validate.words import named, with_error

MOMENTS = "moments "
"""How the remark begins that names the magnetic mode."""


def section(found: Validation) -> Section:
    """Values, thermodynamic functions, moments, figures, and what is to be known, the magnetic mode first."""
    return Section(
        name="phonons",
        label="Phonons",
        title="Phonons",
        explanation="Frequencies of small displacements of the crystal at rest on the potential; thermodynamic "
        "functions per mole of atoms.",
        plots=[one for _, m in found.found for one in _plots(m)],
        lead=[TitledTable("", _values(found))],
        tables=[one for _, m in found.found for one in tables(m)],
        remarks=remarks(found),
    )


def mode_of(found: Measurement) -> str:
    """What the moments did: ``moments relaxed``; empty where there are none."""
    return next((said.partition(":")[0] for said in found.remarks if said.startswith(MOMENTS)), "")


def _plots(found: Measurement) -> list[Plot]:
    label = ", ".join(filter(None, [found.magnetic_state, mode_of(found)]))
    return [*figures([(label, found)]), *QuasiHarmonic().plots([(label, found)])]


def _values(found: Validation) -> Table:
    rows = [[named(value), with_error(value)] for _, m in found.found for value in m.values]
    return Table(["Quantity", ", ".join(found.potentials)], rows, frozenset({1}))
