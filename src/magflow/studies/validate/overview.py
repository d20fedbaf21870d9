"""What a reader looks for first: the few numbers of each crystal, and what speaks against the potential there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from magflow.errors import MagflowError
from magflow.presentation.blocks import Table
from magflow.presentation.formats import NONE
from magflow.properties.base import property_of
from magflow.properties.measurement import Measurement, Value
from magflow.properties.points import DFT
from magflow.properties.references import Reference
from magflow.studies.validate.result import Validation
from magflow.studies.validate.words import crystal, named, off, row_of, with_error

OUTSIDE = "outside the training domain"
"""Words of the properties that tell by themselves where they were outside."""


def headline_table(validation: Validation) -> Table:
    """One row per number that people look for first, one column per crystal; of one potential.

    What a number is off its reference stands behind it, in brackets where it does not exceed its error bar.
    """
    judgements = {row_of(j.measurement, j.value): j for j in validation.judgements}
    own = [m for potential, m in validation.found if potential != DFT]
    crystals = list(dict.fromkeys(crystal(m) for m in own))
    rows: dict[tuple[Any, ...], dict[str, str]] = {}
    order = list(dict.fromkeys(m.property for m in own))
    for m in sorted(own, key=lambda m: order.index(m.property)):
        for value in _headlines(m):
            judgement = judgements.get(row_of(m, value))
            cell = with_error(value) + (f"  {off(judgement)}" if judgement else "")
            rows.setdefault((m.property, named(value)), {})[crystal(m)] = cell
    cells = [[name, *(told.get(c, NONE) for c in crystals)] for (_, name), told in rows.items()]
    return Table(["Property", *crystals], cells, frozenset(range(1, len(crystals) + 1)))


def _headlines(m: Measurement) -> list[Value]:
    """The values people look for first; those at some place only where there is none that holds without one."""
    try:
        names = property_of(m.property).headline
    except MagflowError:  # of a package that is not here
        return []
    plain = {v.name for v in m.values if not v.at}
    return [v for v in m.values if v.name in names and not (v.at and v.name in plain)]


def complaints(m: Measurement) -> Iterator[str]:
    """What is to be known of one measurement: why it has no answer, how far it is outside, and its remarks."""
    if m.failure:
        yield f"no answer: {m.failure}"
    if m.outside and not any(OUTSIDE in remark for remark in m.remarks):
        yield f"{100.0 * m.outside:.0f} % of the configurations lie {OUTSIDE}"
    yield from m.remarks


def idle_references(validation: Validation) -> list[str]:
    """References of what was measured that no value answers to, with the names or the unit that the values have."""
    found = []
    for reference in validation.references:
        asked = [
            m for label, m in validation.found if label != DFT and _meant(reference, m) and m.values and not m.failure
        ]
        names = {v.name for m in asked for v in m.values}
        units = {v.unit for m in asked for v in m.values if v.name == reference.name}
        told = ""
        if asked and reference.name not in names:
            told = f"the values are {', '.join(sorted(names))}"
        elif asked and reference.unit not in units:
            told = f"it is in {reference.unit}, the value in {', '.join(sorted(units))}"
        if told:
            found.append(f"reference {reference.name} of {reference.property} is held against nothing: {told}")
    return list(dict.fromkeys(found))


def _meant(reference: Reference, m: Measurement) -> bool:
    return reference.property == m.property and reference.of.covers(m)
