"""Dataset: an ordered, unique, fingerprinted set of labelled frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

from magflow.core.arrays import digest
from magflow.core.label import LabeledFrame, LabelKind, LevelOfTheory, disagreement
from magflow.core.notebook import facts_html
from magflow.errors import InputError

_SHOWN = 12
"""Compositions that a notebook shows."""


class Dataset(Sequence[LabeledFrame]):
    """Labelled frames in order of first appearance, each `label_id` once.

    Parameters
    ----------
    items
        Labelled frames; later repeats of a label are dropped, if they are repeats.
    mixed
        Allow several levels of theory. Mixing is an explicit act: energies of different levels
        do not compare.

    Raises
    ------
    InputError
        If `mixed` is False and the items were made at more than one level of theory, or if two labels of one frame
        and one level disagree: neither may vanish.

    Examples
    --------
    >>> from magflow import Dataset
    >>> Dataset([])
    <Dataset of 0 labels>
    >>> learnt, unseen = Dataset([]).split(0.2, seed=0)
    """

    def __init__(self, items: Iterable[LabeledFrame] = (), *, mixed: bool = False) -> None:
        unique: dict[str, LabeledFrame] = {}
        for item in items:
            first = unique.setdefault(item.label_id, item)
            if first is not item:
                _refuse_disagreement(first, item)
        self._items = tuple(unique.values())
        self.mixed = mixed
        if not mixed and len(self.levels_of_theory) > 1:
            raise InputError(
                "labels of several levels of theory in one dataset",
                seen=", ".join(f"{t.code} {t.kind} {t.fingerprint}" for t in self.levels_of_theory),
                expected="one level of theory",
                hint="--mixed (mixed=True in Python) accepts them, if that is meant",
            )

    def __repr__(self) -> str:
        kinds = f": {', '.join(self.elements)}; {', '.join(self.kinds)}" if len(self) else ""
        return f"<Dataset of {len(self)} label{'' if len(self) == 1 else 's'}{kinds}>"

    def _repr_html_(self) -> str:
        compositions = Counter(item.frame.formula for item in self).most_common()
        facts: dict[str, object] = {
            "kind": ", ".join(self.kinds),
            "level of theory": "; ".join(f"{t.code} {t.version} {t.functional}" for t in self.levels_of_theory),
            "frames": ", ".join(f"{count} {formula}" for formula, count in compositions[:_SHOWN]),
            "other compositions": max(0, len(compositions) - _SHOWN) or None,
            "fingerprint": self.fingerprint,
        }
        return facts_html(f"Dataset of {len(self)} labels", facts)

    @overload
    def __getitem__(self, index: int) -> LabeledFrame: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> LabeledFrame | Dataset:
        if isinstance(index, slice):
            return Dataset(self._items[index], mixed=self.mixed)
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[LabeledFrame]:
        return iter(self._items)

    @cached_property
    def levels_of_theory(self) -> tuple[LevelOfTheory, ...]:
        """The levels of theory present, in order of appearance."""
        return tuple({item.label.level_of_theory.fingerprint: item.label.level_of_theory for item in self}.values())

    @property
    def kinds(self) -> tuple[LabelKind, ...]:
        """The kinds of label present."""
        return tuple(dict.fromkeys(t.kind for t in self.levels_of_theory))

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements present, alphabetical."""
        return tuple(sorted({s for item in self for s in item.frame.species}))

    @cached_property
    def fingerprint(self) -> str:
        """24 hex digits; depends on the members, not on their order."""
        return digest(sorted(item.label_id.encode() for item in self))

    def filter(self, keep: Callable[[LabeledFrame], bool]) -> Dataset:
        """The items for which `keep` is true, in order."""
        return Dataset((item for item in self if keep(item)), mixed=self.mixed)

    def merge(self, other: Dataset) -> Dataset:
        """A dataset of the items here followed by what is new in `other`."""
        return Dataset((*self, *other), mixed=self.mixed or other.mixed)

    def take(self, indices: Iterable[int]) -> list[LabeledFrame]:
        """Items by index."""
        return [self._items[i] for i in indices]

    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
        """Two parts; the second holds about `fraction` of the items.

        The part an item falls into depends on its id and `seed` alone, so it stays there when the dataset grows.
        """
        if not 0.0 <= fraction < 1.0:
            raise InputError("fraction of a split out of range", seen=fraction, expected="0 <= fraction < 1")
        second = {
            item.label_id
            for item in self
            if int(digest([item.label_id.encode(), str(seed).encode()], 8), 16) / 16**8 < fraction
        }
        return (
            self.filter(lambda item: item.label_id not in second),
            self.filter(lambda item: item.label_id in second),
        )


def _refuse_disagreement(first: LabeledFrame, second: LabeledFrame) -> None:
    if first.label is second.label:
        return
    apart = disagreement(first.label, second.label.for_frame(first.frame), len(first.frame))
    if apart is not None:
        raise InputError(
            "two labels of one frame disagree",
            where=f"{first.frame.formula} {first.label_id}",
            seen=apart,
            expected="one label for each frame and level of theory",
            hint="keep one of them, or say what tells their levels of theory apart",
        )
