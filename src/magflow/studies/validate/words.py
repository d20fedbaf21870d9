"""Values, errors and references as a table says them."""

from __future__ import annotations

from typing import Any

import numpy as np

from magflow.presentation.formats import NONE, number
from magflow.properties.measurement import Measurement, Value
from magflow.studies.validate.judgement import Judgement


def row_of(m: Measurement, value: Value) -> tuple[Any, ...]:
    """What is the same for one value of several potentials."""
    return (m.structure, m.magnetic_state, m.property, *value.key)


def crystal(m: Measurement) -> str:
    """The structure and its magnetic state."""
    return f"{m.structure} {m.magnetic_state}"


def named(value: Value) -> str:
    """Name, place, temperature and unit."""
    where = [x for x in (value.at, "" if value.temperature is None else f"{value.temperature:g} K") if x]
    name = f"{value.name}, {', '.join(where)}" if where else value.name
    return f"{name} ({value.unit})" if value.unit else name


def with_error(value: Value) -> str:
    """The value with as many digits as its uncertainty leaves meaning."""
    error = value.uncertainty
    if not error or not np.isfinite(error):
        return number(value.value, 4)
    decimals = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value.value:.{decimals}f} ± {error:.{decimals}f}"


def off(judgement: Judgement | None) -> str:
    """The difference, relative where that can be, in brackets where it does not exceed its error bar."""
    if judgement is None:
        return NONE
    relative = judgement.relative
    text = number(judgement.difference) if relative is None else f"{100.0 * relative:+.2g} %"
    return text if judgement.significant else f"({text})"
