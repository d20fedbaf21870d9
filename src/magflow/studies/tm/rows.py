"""What is learnt from and tested on: one row per metal, and how its labels are split and drawn.

Owen, Torrisi, Xie, Batzner, Bystrom, Coulter, Musaelian, Sun and Kozinsky, npj Comput. Mater. 10, 92 (2024), compare
models on the transition metals element by element; a row here is an element, or any other set of labels with a name: a
second electronic smearing is another row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from ase.data import atomic_numbers

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.label import ELECTRONS, LabeledFrame, LevelOfTheory
from magflow.core.moments import common_axis, is_collinear
from magflow.errors import InputError
from magflow.io.records import Record

TEMPERATURE = ("temperature", "temperature_K", "temperature_k", "temp_K", "T")
GROUP = ("group", "config_type", "config-type")
OWN_SPLIT = ("split", "subset", "tag")
"""Keys of a frame that say its temperature, its group, and whether it is to be tested on, the first found counts."""
FILE = "file"
SMEARINGS = {"tsmear_ha": "Ha", "sigma_ev": "eV"}
"""Parameters of levels of theory that are the smearing of the occupations, and their units."""

EARLY, LATE = range(3, 9), range(9, 13)
"""Columns of early and middle, and of late d metals; the late ones begin with cobalt, rhodium and iridium."""


@dataclass(frozen=True, eq=False)
class Sorted:
    """A label, and where it belongs.

    Parameters
    ----------
    strata
        Kind (``temperature``, ``group``, ``file``) to the stratum; kinds that nobody told are absent.
    tested
        Whether the data say that it is to be tested on; None if they do not say.
    """

    item: LabeledFrame
    strata: Mapping[str, str] = field(default_factory=dict)
    tested: bool | None = None

    @property
    def cell(self) -> tuple[str, ...]:
        """What it is split by: all its strata at once."""
        return tuple(f"{kind}={name}" for kind, name in sorted(self.strata.items()))


def sort_records(records: Iterable[Record], file: str, group: str | None = None) -> list[Sorted]:
    """The labels among `records` with the strata that their keys tell.

    Parameters
    ----------
    file
        Name of the stratum of all of them.
    group
        Key that holds the group; None: the first of :data:`GROUP` that there is.
    """
    found = []
    for record in records:
        item = record.labeled
        if item is None:
            continue
        told = {"temperature": _first(record, TEMPERATURE), "group": _first(record, (group,) if group else GROUP)}
        own = _first(record, OWN_SPLIT)
        tested = None if own is None else own.lower() == "test"
        strata = {kind: name for kind, name in told.items() if name is not None} | {FILE: file}
        found.append(Sorted(item, strata, tested))
    return found


def turned_onto_z(members: Iterable[Sorted], across: float) -> tuple[list[Sorted], int]:
    """`members` with their moments along z, and how many of them are left out, whose moments are not collinear.

    Energies do not tell directions common to all moments without spin-orbit coupling. What a moment has across the
    common axis is dropped.

    Parameters
    ----------
    across
        How much of a moment may be, muB.
    """
    kept, left_out = [], 0
    for member in members:
        label = member.item.label
        if label.magmoms is None or is_collinear(label.magmoms):
            kept.append(member)
            continue
        axis, off = common_axis(label.magmoms)
        if off > across:
            left_out += 1
            continue
        frame = member.item.frame.replace(magmoms=label.magmoms @ axis)
        field = label.magnetic_forces
        turned = replace(
            label,
            frame_id=frame.frame_id,
            orientation=frame.orientation,
            magmoms=frame.magmoms,
            magnetic_forces=None if field is None else np.outer(field @ axis, (0.0, 0.0, 1.0)),
        )
        kept.append(replace(member, item=LabeledFrame(frame, turned)))
    return kept, left_out


def _first(record: Record, keys: Sequence[str]) -> str | None:
    value = next((record.info[key] for key in keys if record.info.get(key) not in (None, "")), None)
    if value is None:
        return None
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


@dataclass(frozen=True, eq=False)
class Row:
    """The labels of one metal under a name.

    Parameters
    ----------
    members
        A label that stands there twice counts once.

    Raises
    ------
    InputError
        Two labels of one frame that disagree, or labels of several levels of theory.
    """

    name: str
    members: tuple[Sorted, ...]

    def __post_init__(self) -> None:
        try:
            labels = Dataset(member.item for member in self.members)
        except InputError as error:
            raise InputError(
                error.message,
                where=self.name,
                seen=error.seen,
                expected=error.expected,
                hint="give what differs in its level of theory, such as the smearing, a row of its own: NAME=FILE",
            ) from error
        first = {member.item.label_id: member for member in reversed(self.members)}
        kept = tuple(first[item.label_id] for item in labels)
        for kind in {kind for member in kept for kind in member.strata}:
            if len({member.strata.get(kind) for member in kept}) == 1:  # says nothing
                kept = tuple(replace(m, strata={k: name for k, name in m.strata.items() if k != kind}) for m in kept)
        object.__setattr__(self, "members", kept)

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Alphabetical."""
        return tuple(sorted({s for member in self.members for s in member.item.frame.species}))

    @property
    def column(self) -> int | None:
        """Column of the periodic table of a d metal; None of anything else."""
        return d_column(self.elements[0]) if len(self.elements) == 1 else None

    @property
    def level(self) -> LevelOfTheory:
        """Of all its labels."""
        return self.members[0].item.label.level_of_theory

    @property
    def smearing(self) -> tuple[float, str] | None:
        """Smearing of the occupations and its unit; None where the level of theory tells none."""
        told = self.level.parameters
        return next(((float(told[key]), unit) for key, unit in SMEARINGS.items() if key in told), None)

    @property
    def electrons(self) -> dict[str, float]:
        """Mean over the labels that tell it, by name (:mod:`magflow.dft.electrons`)."""
        told = [m.item.label.details.get(ELECTRONS, {}) for m in self.members]
        names = dict.fromkeys(name for one in told for name in one)
        return {name: float(np.mean([one[name] for one in told if name in one])) for name in names}

    @property
    def has_moments(self) -> bool:
        """Whether every label carries the moments it was computed at, and not all of them zero."""
        moments = [member.item.configuration.magmoms for member in self.members]
        return all(m is not None for m in moments) and any(m is not None and m.any() for m in moments)

    @property
    def own_split(self) -> bool:
        """Whether the data say which labels are to be tested on, and which not."""
        return {bool(member.tested) for member in self.members} == {True, False}

    def parts(self, share: float, seed: int) -> tuple[list[Sorted], list[Sorted]]:
        """Labels to learn from, in the order in which they are drawn, and labels to test on.

        Every beginning of the first is as large a part of each stratum as of the whole, to half a label. Both follow
        from the labels, `share` and `seed` alone; of a row with a split of its own the second is that of the data.

        Parameters
        ----------
        share
            Of all labels, to test on.
        """
        if self.own_split:
            tested = [member for member in self.members if member.tested]
            others = [member for member in self.members if not member.tested]
        else:
            order = stratified(self.members, f"test {seed}")
            count = max(1, round(share * len(order)))
            tested, others = order[:count], order[count:]
        return stratified(others, f"train {seed}"), tested


def stratified(members: Sequence[Sorted], word: str) -> list[Sorted]:
    """`members` in an order that follows from their frames and `word`, each of its beginnings a fair sample.

    Labels of the same frames at another level of theory, such as another smearing, come in the same order.

    The k-th of the n members of a stratum, in an order of its own, stands at (k + 1/2)/n of the whole.
    """
    drawn = {m.item.label_id: digest([m.item.frame.frame_id.encode(), word.encode()]) for m in members}
    places: dict[str, float] = {}
    for cell in sorted({m.cell for m in members}):
        own = sorted((m.item.label_id for m in members if m.cell == cell), key=drawn.__getitem__)
        places |= {label: (k + 0.5) / len(own) for k, label in enumerate(own)}
    return sorted(members, key=lambda m: (places[m.item.label_id], drawn[m.item.label_id]))


def d_column(element: str) -> int | None:
    """Column 3 to 12 of a d metal (lanthanum and lutetium included), None of other elements."""
    z = atomic_numbers[element]
    for first in (21, 39, 71):
        if first <= z < first + 10:
            return z - first + 3
    return 3 if z == 57 else None
