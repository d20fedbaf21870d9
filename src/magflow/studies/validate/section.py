"""What a validation says to people: values beside references, errors by group, what failed, and the figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from magflow.errors import MagflowError
from magflow.presentation.blocks import Plot, Table
from magflow.presentation.formats import NONE, number, plural
from magflow.presentation.sections import Place, Section, TitledTable
from magflow.properties.base import property_of
from magflow.properties.measurement import Group, Measurement, Value
from magflow.properties.references import Reference, references_of
from magflow.properties.state_energies import energy_differences
from magflow.studies.base import Study, Traces, read_result
from magflow.studies.validate.judgement import GroupErrors, by_group
from magflow.studies.validate.overview import complaints, headline_table, idle_references
from magflow.studies.validate.result import DIRECTORY, RESULTS, Skipped, Validation
from magflow.studies.validate.task import ValidationTask
from magflow.studies.validate.words import crystal, named, off, row_of, with_error

TITLES = {Group.STATIC: "Static, local", Group.DYNAMIC: "Dynamic, collective", Group.STABILITY: "Stability"}


def section(validation: Validation) -> Section:
    """The validation as a part of a page: of one potential its main numbers come first, of several all of them."""
    alone = len(validation.potentials) < 2
    groups = [g for g in Group if any(m.group is g for _, m in validation.found)]
    tables = [TitledTable(TITLES[g], value_table(validation, g), folded=alone) for g in groups]
    if (states := state_table(validation)).rows:
        tables.append(TitledTable("Magnetic states", states))
    tables.append(TitledTable("How it was measured", run_table(validation), folded=True))
    lead = [TitledTable("", headline_table(validation))] if alone else []
    return Section(
        name="validation",
        label="Validation",
        title="What the potential is good for" if alone else "What the potentials are good for",
        explanation="Values with their uncertainty: statistical error and spread over the members of the ensemble "
        "together. Behind them, or under Off: difference from the reference; in brackets where it does not exceed its "
        "error bar.",
        plots=plots(validation),
        lead=[one for one in lead if one.table.rows],
        tables=tables,
        remarks=remarks(validation),
        place=Place.FIRST,
    )


def value_table(validation: Validation, group: Group) -> Table:
    """One row per structure and value of a group; two columns per potential, one for the reference."""
    several = validation.potentials
    heads = ["Structure", "Property", "Reference"]
    for potential in several:
        heads += [potential if len(several) > 1 else "Potential", "Off"]
    judgements = {(j.potential, row_of(j.measurement, j.value)): j for j in validation.judgements}
    rows = []
    for row, shown in _rows(validation, group).items():
        m, value = next(iter(shown.values()))
        cells: list[Any] = [crystal(m), named(value), _reference(m, value, validation)]
        for potential in several:
            mine = shown.get(potential)
            cells += [NONE if mine is None else with_error(mine[1]), off(judgements.get((potential, row)))]
        rows.append(cells)
    return Table(heads, rows, frozenset(range(2, len(heads))))


def state_table(validation: Validation) -> Table:
    """One row per magnetic state that lies above another one of its structure."""
    rows = []
    for potential in dict.fromkeys(label for label, _ in validation.found):
        for d in energy_differences([m for label, m in validation.found if label == potential]):
            above = with_error(Value("energy", "meV/atom", d.energy, spread=d.spread))
            rows.append([d.structure, f"{d.state} above {d.lowest}", potential, above])
    return Table(["Structure", "States", "Potential", "meV/atom"], rows, frozenset({3}))


def run_table(validation: Validation) -> Table:
    """One row per measurement: how it was made and how far it is to be trusted."""
    heads = ["Structure", "Measured", "Potential", "Moments", "Atoms", "Dynamics (ps)", "Outside (%)", "CPU (s)", ""]
    rows = []
    for potential, m in validation.found:
        rows.append(
            [
                crystal(m),
                m.property,
                potential,
                str(m.moments),
                m.atoms,
                number(m.picoseconds) if m.picoseconds else NONE,
                NONE if m.outside is None else number(100.0 * m.outside),
                number(m.cpu_seconds),
                m.failure,
            ]
        )
    return Table(heads, rows, frozenset({4, 5, 6, 7}))


def remarks(validation: Validation) -> list[tuple[str, str]]:
    """The sentence a user may quote per potential and group, then each crystal, then what was not asked."""
    alone = len(validation.potentials) < 2
    said = [("validation" if alone else e.potential, sentence(e)) for e in by_group(validation.judgements)]
    crystals: dict[str, list[str]] = {}
    for potential, m in validation.found:
        about = crystal(m) if alone else f"{potential}, {crystal(m)}"
        crystals.setdefault(about, []).extend(f"{m.property}: {told}" for told in complaints(m))
    said += [(about, "; ".join(told)) for about, told in crystals.items() if told]
    for s in validation.skipped:
        said.append((s.structure if alone else s.potential, f"{s.property} was not measured: {s.reason}"))
    return said + [("references", text) for text in idle_references(validation)]


def sentence(errors: GroupErrors) -> str:
    """How far the values of one group are off, in words."""
    n, worst = len(errors.judgements), errors.worst
    within = sum(not j.significant for j in errors.judgements)
    said = f"{TITLES[errors.group].lower()}: {plural(n, 'value')} with a reference"
    if errors.median is not None:
        said += f", off by {_percent(errors.median)} (median)"
    if worst is not None and worst.relative is not None:
        said += f", at most {_percent(abs(worst.relative))} ({worst.value.name} of {worst.measurement.structure})"
    return said + (f"; {within} within the error bar" if within else "")


def plots(validation: Validation) -> list[Plot]:
    """The figures of every property, potentials drawn together, one set per structure and state."""
    together: dict[tuple[str, str, str], list[tuple[str, Measurement]]] = {}
    for potential, m in validation.found:
        label = m.magnetic_state if len(validation.potentials) < 2 else f"{potential}, {m.magnetic_state}"
        together.setdefault((m.property, m.structure, m.formula), []).append((label, m))
    out = []
    for (name, _, _), found in together.items():
        try:
            prop = property_of(name)
        except MagflowError:  # of a package that is not here: its numbers are shown all the same
            continue
        out += prop.plots(found)
    return out


def _rows(validation: Validation, group: Group) -> dict[tuple[Any, ...], dict[str, tuple[Measurement, Value]]]:
    """Row to potential to what it says; rows in the order of the measurements."""
    out: dict[tuple[Any, ...], dict[str, tuple[Measurement, Value]]] = {}
    for potential, m in validation.found:
        if m.group is group:
            for value in m.values:
                out.setdefault(row_of(m, value), {})[potential] = (m, value)
    return out


def _reference(m: Measurement, value: Value, validation: Validation) -> str:
    fitting = references_of(m, value, validation.known)
    if not fitting:
        return NONE
    reference, expected = fitting[0]
    return f"{number(expected, 4)} ({reference.kind})"


def _percent(share: float) -> str:
    return f"{number(100.0 * share, 2)} %"


def columns(validation: Validation) -> dict[str, list[Any]]:
    """One row per value, with its reference where it has one."""
    rows = list(_flat(validation))
    heads = (
        "potential", "structure", "state", "property", "value", "at", "temperature (K)", "unit", "number", "error",
        "spread", "reference", "kind", "source",
    )  # fmt: skip
    return {head: [row[k] for row in rows] for k, head in enumerate(heads)}


def _flat(validation: Validation) -> Iterator[Sequence[Any]]:
    judgements = {(j.potential, row_of(j.measurement, j.value)): j for j in validation.judgements}
    for potential, m in validation.found:
        for v in m.values:
            j = judgements.get((potential, row_of(m, v)))
            against = (np.nan, "", "") if j is None else (j.expected, str(j.reference.kind), j.reference.source)
            known = [np.nan if x is None else x for x in (v.temperature, v.error, v.spread)]
            yield (
                potential, m.structure, m.magnetic_state, m.property, v.name, v.at, known[0], v.unit, v.value, known[1],
                known[2], *against,
            )  # fmt: skip


def left_in(traces: Traces) -> Validation | None:
    """What the jobs of a campaign measured on its last ensemble, and the validation in its directory."""
    documents = traces.documents("measurement")
    last = max((d["iteration"] for d in documents), default=0)
    of_last = sorted((d for d in documents if d["iteration"] == last), key=lambda d: str(d["created_at"]))
    pieces = ("potential", "structure", "magnetic_state", "property")
    newest = list({tuple(d[p] for p in pieces): d for d in of_last}.values())  # asked again, the last answer counts
    asked = read_result(traces.directory / DIRECTORY / RESULTS, Validation)
    if not newest:
        return asked
    found = [(d["potential"], Measurement.from_dict(d["measurement"])) for d in newest if d["measurement"]]
    skipped = [
        Skipped(d["potential"], f"{d['structure']}-{d['magnetic_state']}", d["property"], d["skipped"])
        for d in newest
        if d["skipped"]
    ]
    known = {json.dumps(r, sort_keys=True): Reference(**r) for d in newest for r in d["references"]}
    by_jobs = Validation(tuple(found), tuple(skipped), tuple(known.values()))
    return by_jobs if asked is None else by_jobs.with_others(asked)


STUDY = Study("validate", ValidationTask, Validation, left_in, section)
