"""Sections: what a study, or any other part of a page, says under one heading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from magflow.presentation.blocks import Plot, Table


class Place(StrEnum):
    """Where a section stands on the page of a campaign."""

    FIRST = "first"
    """Before everything else: what a reader has come for."""
    ERRORS = "errors"
    """With the errors of the loop: it judges the way the campaign was led."""
    POTENTIAL = "potential"
    """With the finished ensemble: it judges potentials."""


@dataclass(frozen=True)
class TitledTable:
    """A table under a heading of its own.

    Parameters
    ----------
    note
        How to read it.
    folded
        Shown when its title is clicked.
    """

    title: str
    table: Table
    note: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """One heading and what stands below it: explanation, remarks, the answer in short, figures, tables.

    Parameters
    ----------
    name
        Unique on the page: its address there.
    label
        The heading in the page's list of contents.
    remarks
        What a remark is about, and what it says.
    lead
        Tables that come before the figures.
    """

    name: str
    label: str
    title: str
    explanation: str = ""
    plots: Sequence[Plot] = ()
    tables: Sequence[TitledTable] = ()
    remarks: Sequence[tuple[str, str]] = ()
    lead: Sequence[TitledTable] = ()
    place: Place = Place.POTENTIAL
